"""Count the Python calls that a worker makes for one message; prints one line of JSON.

    python -m benchmarks.counted sqlite:///greenq.db 100 5000

loads 5,000 messages, runs a whole worker of this process on them with 100 slots, so that it takes up to 100
at a time, and counts in every thread of it, green or native, from a message near the start to one near the
end. Besides, how many frames lie between the pool's own code and the task's.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from types import CodeType, FrameType
from typing import Any

from pools import native
from pools.patching import patch

__all__ = ["Profiler", "main"]

POOL = "gevent"
PATIENCE = 120.0


class Profiler:
    """Counts ``call`` and ``c_call`` events of every thread while `counting`."""

    def __init__(self) -> None:
        self.counting = False
        self.calls: Counter[CodeType] = Counter()
        self.c_calls = 0
        self._own = {self._switched.__code__, self.start.__code__, self.stop.__code__}

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """Take one event: what `sys.setprofile` calls."""
        if not self.counting:
            return
        if event == "call":
            if frame.f_code not in self._own:
                self.calls[frame.f_code] += 1
        elif event == "c_call":
            self.c_calls += 1

    def install(self) -> None:
        """Profile this thread, its green threads, and every thread that starts from now on."""
        import threading

        import greenlet

        start_native = native.original("_thread", "start_new_thread")
        profile = self.profile

        def start_profiled(function: Any, args: Any, kwargs: Any = None) -> Any:
            def run(*args: Any, **kwargs: Any) -> None:
                greenlet.settrace(self._switched)
                sys.setprofile(profile)
                function(*args, **kwargs)

            return start_native(run, args, kwargs or {})

        from gevent.monkey import _state  # type: ignore[attr-defined]

        # Where code that wants real threads finds the function, in a patched process.
        _state.saved["_thread"]["start_new_thread"] = start_profiled
        native._start_new_thread = start_profiled  # looked up once, as that module is imported
        threading.setprofile(profile)
        greenlet.settrace(self._switched)
        sys.setprofile(profile)

    def _switched(self, event: str, arg: Any) -> None:
        """A green thread begins or goes on: each has its own profile function, at first none."""
        sys.setprofile(self.profile)

    def start(self) -> None:
        """Count from now on."""
        self.counting = True

    def stop(self) -> None:
        """Count no more."""
        self.counting = False


def main(url: str, batch: int, messages: int) -> dict[str, Any]:
    """Count.

    Parameters:
        url: of the broker, which is the result store too, but for RabbitMQ: the worker then has none.
        batch: the worker's slots: how many messages it takes at once.
        messages: how many to load; all but the first and last tenth are counted.
    """
    from greenq import GreenQ, Worker
    from greenq.worker import limits
    from greenq.worker.duties import blocked

    # What goes by the clock is no part of a message, and would be more of it the slower the machine is.
    limits.LOOK_EVERY = blocked.LOOK_EVERY = PATIENCE
    results = None if url.startswith("amqp") else url
    # Without what may be fetched beyond the slots: a batch of one is to be one.
    worker = {"pool": POOL, "concurrency": batch, "prefetch": 0}
    app = GreenQ("counted", broker=url, results=results, worker=worker)
    profiler = Profiler()
    profiler.install()
    edge = max(1, messages // 10 // batch) * batch
    first, last = edge, messages - edge
    ran = frames = 0
    ended = native.Signal()

    @app.task(name="noop", ignore_result=True, time_limit=60)
    def noop() -> None:
        nonlocal ran, frames
        ran += 1
        if ran == first:
            frames = _frames_below(sys._getframe())
            profiler.start()
        elif ran == last:
            profiler.stop()
        if ran == messages:
            ended.set()

    app.send_many(noop.call() for _ in range(messages))
    worker = Worker(app)
    worker.start()
    # One wait: looking again and again would be counted, too.
    if not ended.wait(PATIENCE):
        raise SystemExit(f"only {ran} of {messages} messages ran in {PATIENCE:g} s")
    sys.setprofile(None)
    worker.stop(10)
    return {"frames": frames, **_summary(profiler, last - first, noop.run)}


def _frames_below(frame: FrameType) -> int:
    """How many frames lie between a task's and the pool's."""
    count = 0
    caller = frame.f_back
    while caller is not None and caller.f_globals["__name__"].partition(".")[0] == "greenq":
        count += 1
        caller = caller.f_back
    return count


def _summary(profiler: Profiler, messages: int, task: Any) -> dict[str, Any]:
    """Say what was counted, the user's function left out."""
    own = {task.__code__}
    calls = Counter({code: number for code, number in profiler.calls.items() if code not in own})
    most = [
        {"where": _where(code), "calls": round(number / messages, 3)}
        for code, number in calls.most_common()
        if number * 100 >= messages
    ]
    fetches = sum(number for code, number in calls.items() if code.co_name == "_fetch")
    return {
        "messages": messages,
        "calls": round(sum(calls.values()) / messages, 2),
        "c_calls": round(profiler.c_calls / messages, 2),
        "per_fetch": round(messages / fetches, 1) if fetches else None,
        "most": most,
    }


def _where(code: CodeType) -> str:
    file = code.co_filename.rpartition("site-packages/")[2]
    for package in ("greenq", "pools"):
        _, found, after = file.rpartition(f"/{package}/")
        if found:
            file = f"{package}/{after}"
    return f"{file}:{code.co_qualname}"


if __name__ == "__main__":
    patch(POOL)
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
