"""One worker process of the command: patch first, then load the application, run, and obey signals.

Nothing may be imported here before `patch` that opens a socket, starts a thread or makes a lock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from greenq.worker.supervision.handover import EXIT_MISTAKE, EXIT_UNAVAILABLE, take_over

__all__ = ["main"]

COLLECT_AFTER, COLLECT_AFTER_PER_SLOT = 10_000, 10
"""Containers made and not freed again before the collector looks at the youngest; for each slot, if more."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def main(fd: int) -> NoReturn:
    """Run one worker as the spec in the pipe `fd` says, and exit."""
    spec = take_over(fd)
    die_with_parent(spec["supervisor"])
    for inherited in (spec["line"], spec["page"]):
        os.set_inheritable(inherited, False)
    from greenq.errors import BrokerError, GreenqError
    from pools.errors import PoolError

    try:
        code = run(spec)
    except BrokerError as error:
        # One that refuses (it still loads its data, or only reads) is as much away as one that is silent.
        tell(f"greenq worker: {error}")
        code = EXIT_UNAVAILABLE
    except (GreenqError, PoolError) as error:
        tell(f"greenq worker: {error}")
        code = EXIT_MISTAKE
    except BaseException:
        tell(traceback.format_exc())
        code = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    # Threads that a task left blocked in C code must not keep the process.
    os._exit(code)


def run(spec: dict[str, Any]) -> int:
    """Patch, load, work, stop; the exit code."""
    pool = patch(spec)
    listener = Mailbox()
    from greenq import __version__
    from greenq.loading import load_app
    from greenq.worker import logs
    from greenq.worker.banner import banner
    from greenq.worker.line import Line
    from greenq.worker.page import Page
    from greenq.worker.worker import Worker

    line = Line(spec["line"])

    app = load_app(spec["app"])
    app.override(overrides(spec), spec["config"])
    require_same_pool(pool, app.settings.worker.pool)
    require_same_processes(spec["processes"], app.settings.worker.processes)
    require_shared(app)
    worker = Worker(
        app,
        process=spec["process"],
        index=spec["index"],
        burst=spec["burst"],
        release=tuple(spec["release"]),
        release_uncharged=tuple(spec["release_uncharged"]),
        page=Page(spec["page"]),
        overrides=overrides(spec),
        config=spec["config"],
    )
    spare_the_collector(worker.pool.capacity)
    if not app.set_up_logs():
        logs.setup(app.settings.log, worker.node)
    worker.on_finish = listener.post
    worker.on_recycle = lambda why: line.tell(recycle=why)
    worker.start()
    settings = app.settings
    line.tell(up={"shutdown_timeout": settings.worker.shutdown_timeout, "patience": settings.broker.patience})
    line.listen(worker.give_back)
    if spec["first"]:
        main = f"adopted {app.adopted}" if app.adopted else app.main or spec["app"]
        tell(banner(app.config, main, len(app.tasks), worker.node, __version__, worker.pool.capacity))
    return obey(worker, listener, line, settings.worker.shutdown_timeout)


def tell(text: str) -> None:
    """Tell people on standard error, if somebody still listens there."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def spare_the_collector(slots: int) -> None:
    """Let the garbage collector look at what tasks make, not again and again at what was imported.

    A message in flight holds a few containers; with the standard thresholds a thousand of them set off
    collections of everything that was ever imported, all the time.
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(max(COLLECT_AFTER, COLLECT_AFTER_PER_SLOT * slots), 20, 20)


def patch(spec: dict[str, Any]) -> str:
    """Make the standard library green for the pool that the configuration names; its name.

    The application may not be imported for that, so what it says in code about the pool is not known yet.
    """
    from greenq.config import load
    from pools.patching import patch as make_green

    pool = load(spec["config"], overrides=overrides(spec)).settings.worker.pool
    make_green(pool)
    return pool


def overrides(spec: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """The command line's settings, as `greenq.config.load` takes them."""
    return {key: (value, option) for key, (value, option) in spec["overrides"].items()}


def require_same_pool(patched: str, chosen: str) -> None:
    """Refuse a pool that only the application's code names.

    Raises:
        ConfigError: says where to name it instead.
    """
    if patched != chosen:
        from greenq.errors import ConfigError

        raise ConfigError(
            f"the application's code chooses the {chosen} pool, but the command must know it before it "
            f"imports the application (it prepared for {patched}): say worker: {{pool: {chosen}}} in "
            f"greenq.yaml, GREENQ_WORKER_POOL={chosen}, or --pool {chosen}"
        )


def require_same_processes(running: int, chosen: int) -> None:
    """Refuse a number of processes that only the application's code names.

    Raises:
        ConfigError: says where to name it instead.
    """
    if running != chosen:
        from greenq.errors import ConfigError

        raise ConfigError(
            f"the application's code chooses {chosen} processes, but the command starts {running} before it "
            f"imports the application: say worker: {{processes: {chosen}}} in greenq.yaml, "
            f"GREENQ_WORKER_PROCESSES={chosen}, or --processes {chosen}"
        )


def require_shared(app: Any) -> None:
    """Refuse a broker that no other process can reach: nothing could ever arrive.

    Raises:
        ConfigError: says what to use instead.
    """
    if not app.broker.guarantees.shared:
        from greenq.config import mask
        from greenq.errors import ConfigError

        raise ConfigError(
            f"broker.url: {mask(app.settings.broker.url)} exists in one process only, so no task could ever "
            "reach this worker: leave broker.url out (one SQLite file serves all processes of a machine), or "
            "run greenq.Worker inside the process that sends"
        )


class Mailbox:
    """Where signals, and a worker that wants to end, reach the main thread: a socket that it waits on.

    A signal's number is written by the interpreter itself, so it arrives whatever the threads are doing;
    the handlers do nothing.
    """

    def __init__(self) -> None:
        import socket

        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self.reason = ""
        for signum in STOP_SIGNALS:
            signal.signal(signum, lambda *_: None)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)

    def post(self, reason: str) -> None:
        """Let the main thread stop the worker; from any thread."""
        self.reason = reason
        self._sender.send(b"\0")

    def wait(self, timeout: float | None = None) -> int | None:
        """The next signal's number, 0 for `post`, None after `timeout` seconds."""
        self._receiver.settimeout(timeout)
        try:
            return self._receiver.recv(1)[0]
        except TimeoutError:
            return None


def obey(worker: Any, mailbox: Mailbox, line: Any, shutdown_timeout: float) -> int:
    """Wait for the first signal or the worker's own wish to end, then stop it; the exit code."""
    import logging
    import threading

    log = logging.getLogger("greenq.worker")
    first = mailbox.wait()
    while first is not None and first not in (0, *STOP_SIGNALS):
        first = mailbox.wait()
    if mailbox.reason in ("burst", "shutdown"):
        line.tell(burst=True)
    if first:
        worker.stopped_by = signal.Signals(first).name
        log.warning(
            "stopping: running tasks get %g s to finish; a second signal puts them back at once",
            shutdown_timeout,
        )
    stopped = threading.Event()
    hurry = threading.Event()

    def listen() -> None:
        while not stopped.is_set():
            if mailbox.wait(0.2) in STOP_SIGNALS:
                hurry.set()
                return

    ear = threading.Thread(target=listen, daemon=True)
    ear.start()
    deadline = worker.pool.now() + shutdown_timeout
    while not hurry.is_set() and worker.pool.now() < deadline:
        if worker.drain(min(0.1, max(0.0, deadline - worker.pool.now()))):
            break
    clean = worker.stop(0)
    stopped.set()
    log.info("stopped" if clean else "stopped; what had not finished went back to its queue")
    if first:
        return 0
    if mailbox.reason == "unreachable":
        return EXIT_UNAVAILABLE
    return 0 if mailbox.reason in ("burst", "shutdown") else 1


def die_with_parent(supervisor: int) -> None:
    """Let the kernel kill this process when its supervisor dies, however it dies."""
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
