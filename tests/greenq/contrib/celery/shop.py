"""A Celery application as people write them, for a worker of greenq's; what happens is noted in Redis."""

from __future__ import annotations

import os
import threading
from typing import Any

import redis
from celery import Celery, Task, chain, chord, group, signals  # type: ignore[import-untyped]
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded  # type: ignore[import-untyped]
from pydantic import BaseModel

URL = os.environ.get("SHOP_URL", "redis://127.0.0.1:1/0")
app = Celery("shop", broker=URL, backend=URL)
app.conf.update(
    task_routes={"*.elsewhere": {"queue": "other"}}, result_extended=True, worker_concurrency=20,
    task_queues=None, task_annotations={"tests.greenq.contrib.celery.shop.annotated": {"max_retries": 7}},
)  # fmt: skip


def note(*what: Any) -> None:
    """Write a line that the tests can read."""
    with redis.Redis.from_url(URL) as client:
        client.rpush("notes", " ".join(map(str, what)))


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────


@app.task  # type: ignore[untyped-decorator]
def add(x: int, y: int) -> int:
    return x + y


@app.task  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def about(self: Task) -> dict[str, Any]:
    request = self.request
    return {
        "id": request.id, "root": request.root_id, "directly": request.called_directly,
        "current": app.current_task.name, "worker": app.current_worker_task.name,
        "delivery": request.delivery_info, "host": bool(request.hostname), "retries": request.retries,
        "task": type(self).__name__, "headers": request.headers,
    }  # fmt: skip


@app.task(bind=True)  # type: ignore[untyped-decorator]
def nested(self: Task) -> dict[str, Any]:
    before = app.current_task.name
    direct = inner()
    return {"before": before, "inner": direct, "after": app.current_task.name, "id": self.request.id}


@app.task(bind=True)  # type: ignore[untyped-decorator]
def inner(self: Task) -> list[Any]:
    return [app.current_task.name, app.current_worker_task.name, self.request.called_directly]


@app.task(bind=True)  # type: ignore[untyped-decorator]
def meet(self: Task, together: int) -> str:
    """Ends when so many run at once, each asking for its own request after the others have begun."""
    with redis.Redis.from_url(URL) as client:
        client.incr("meeting")
        waiting = threading.Event()
        while int(client.get("meeting")) < together:  # type: ignore[arg-type]
            waiting.wait(0.05)
    return f"{self.request.id} {app.current_task.request.id}"


@app.task(bind=True, default_retry_delay=0.1)  # type: ignore[untyped-decorator]
def stubborn(self: Task, times: int) -> int:
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"))
    return int(self.request.retries)


@app.task(autoretry_for=(KeyError,), retry_backoff=False, default_retry_delay=0.1, max_retries=2)  # type: ignore[untyped-decorator]
def hopeless() -> None:
    raise KeyError("never")


@app.task(bind=True)  # type: ignore[untyped-decorator]
def replaced(self: Task) -> None:
    raise self.replace(chain(add.s(1, 2), add.s(10)))


@app.task(bind=True)  # type: ignore[untyped-decorator]
def growing(self: Task) -> int:
    self.add_to_chord(add.s(100, 0))
    return 1


@app.task(bind=True)  # type: ignore[untyped-decorator]
def families(self: Task) -> list[str]:
    group(add.s(1, 1), add.s(2, 2)).delay()
    return [self.request.id, add.delay(3, 3).id]


@app.task(bind=True)  # type: ignore[untyped-decorator]
def progressing(self: Task) -> Any:
    self.update_state(state="PROGRESS", meta={"done": 1})
    return self.backend.get_task_meta(self.request.id, cache=False)["status"]


@app.task  # type: ignore[untyped-decorator]
def a_result() -> Any:
    return add.delay(5, 6)


@app.task  # type: ignore[untyped-decorator]
def ignoring() -> None:
    raise Ignore()


@app.task(acks_late=True)  # type: ignore[untyped-decorator]
def rejecting() -> None:
    raise Reject("no good", requeue=False)


@app.task(soft_time_limit=0.3)  # type: ignore[untyped-decorator]
def slow() -> str:
    try:
        threading.Event().wait(120)
    except SoftTimeLimitExceeded as limit:
        return f"{type(limit).__module__} {limit}"
    return "it never came"


@app.task(time_limit=0.5)  # type: ignore[untyped-decorator]
def too_slow() -> None:
    threading.Event().wait(120)


class Order(BaseModel):
    """What is ordered."""

    item: str
    count: int = 1


@app.task(pydantic=True)  # type: ignore[untyped-decorator]
def order(what: Order) -> Order:
    return Order(item=what.item.upper(), count=what.count + 1)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def annotated(self: Task) -> Any:
    return self.max_retries


@app.task  # type: ignore[untyped-decorator]
def elsewhere() -> str:
    return "here"


@app.task  # type: ignore[untyped-decorator]
def failing(text: str) -> None:
    raise ValueError(text)


@app.task  # type: ignore[untyped-decorator]
def told(request: Any, exc: BaseException, traceback: str) -> None:
    note("errback", request.id, repr(exc), app.AsyncResult(request.id).state)


@app.task  # type: ignore[untyped-decorator]
def noting(text: str, more: str = "") -> None:
    note(text, more)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def workflow(self: Task) -> str:
    return str(chord([add.s(n, n) for n in range(4)], total.s()).delay().id)


# ── a class with hooks ───────────────────────────────────────────────────────────────────────────────────


class Watched(Task):  # type: ignore[misc]
    """Notes all that it is told."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note("call", self.name.rpartition(".")[2], *args)
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("before_start", *args)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note("on_success", retval, *args)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", repr(exc), type(einfo).__name__, "ValueError" in einfo.traceback, *args)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_retry", repr(exc), *args)

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        note("after_return", status, repr(retval), einfo)


@app.task(base=Watched, bind=True, default_retry_delay=0.1)  # type: ignore[untyped-decorator]
def watched(self: Task, how: str) -> str:
    note("run", how, self.request.called_directly)
    if how == "fail":
        raise ValueError(how)
    if how == "retry" and not self.request.retries:
        raise self.retry(exc=ValueError(how))
    return how


class Counting(Task):  # type: ignore[misc]
    """A task that is a class."""

    name = "shop.counting"

    def run(self, start: int) -> list[Any]:
        return [start + 1, self.request.task, self.name]


app.register_task(Counting())

# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────


def listen(signal: Any, *keys: str) -> None:
    """Note a signal about the task `signalled`, or about the worker."""

    def receiver(sender: Any = None, **named: Any) -> None:
        own = getattr(sender, "name", sender)
        about = named.get("task_id") or getattr(named.get("request"), "id", None)
        if isinstance(own, str) and own.startswith("tests.") and not own.endswith("signalled"):
            return
        shown = [f"{key}={type(named[key]).__name__}" for key in keys]
        note("signal", signal.name, type(sender).__name__, "-" if about is None else "id", *shown)

    signal.connect(receiver, weak=False)


@app.task(bind=True, default_retry_delay=0.1)  # type: ignore[untyped-decorator]
def signalled(self: Task, how: str) -> str:
    if how == "fail":
        raise ValueError(how)
    if how == "retry" and not self.request.retries:
        raise self.retry(exc=ValueError(how))
    return how


listen(signals.task_prerun, "task_id", "task", "args", "kwargs")
listen(signals.task_postrun, "task_id", "task", "args", "kwargs", "retval", "state")
listen(signals.task_success, "result")
listen(signals.task_failure, "task_id", "exception", "args", "kwargs", "traceback", "einfo")
listen(signals.task_retry, "request", "reason", "einfo")
for life in ("celeryd_init", "celeryd_after_setup"):
    listen(getattr(signals, life), "instance", "conf")
for life in ("worker_init", "worker_process_init", "worker_ready"):
    listen(getattr(signals, life))
listen(signals.worker_shutting_down, "sig", "how", "exitcode")
listen(signals.worker_process_shutdown, "pid", "exitcode")
listen(signals.worker_shutdown)
