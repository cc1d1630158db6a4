"""What the tests of the prefork pool run in its children, and in programs of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

KEPT: list[object] = []


def combine(*args: object) -> tuple[object, ...]:
    return args


def where() -> tuple[int, int, list[object]]:
    return os.getpid(), os.getppid(), list(KEPT)


def remember(*args: object) -> None:
    """A setup that notes where it ran."""
    KEPT.extend([os.getpid(), *args])


def fail_in_setup() -> None:
    raise LookupError("the application is broken")


def end_in_setup() -> None:
    os._exit(7)


def leave_a_thread() -> None:
    remember()
    threading.Thread(target=time.sleep, args=(600,), name="left-over", daemon=True).start()


def leave_a_socket() -> None:
    remember()
    listener = socket.create_server(("127.0.0.1", 0))
    KEPT.append(listener.getsockname()[1])
    globals()["listener"] = listener


def fail_in_children(path: str) -> None:
    """A setup that leaves a thread, so that the children run it, and works until `path` is there."""
    if os.path.exists(path):
        raise LookupError("broken since")
    leave_a_thread()


def count_versions(path: str) -> None:
    KEPT[:] = [Path(path).read_text()]
    if KEPT == ["broken"]:
        raise LookupError("this version is broken")


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("never")


class Picky(Exception):
    """Pickles well, and cannot be unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("only one")


class Stubborn(Exception):
    def __reduce__(self) -> str:
        raise TypeError("never")


def return_unpicklable() -> object:
    return Unpicklable()


def raise_picky() -> None:
    raise Picky(1, 2)


def raise_stubborn() -> None:
    raise Stubborn("cannot travel")


def raise_from_cause() -> None:
    try:
        raise OSError("the cause")
    except OSError as error:
        raise ValueError("the effect") from error


def leave(code: int) -> None:
    os._exit(code)


def exit_politely() -> None:
    sys.exit(5)


def sockets() -> int:
    """How many sockets this process holds."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return found


def fork_and_return() -> str:
    """Return twice, in two processes."""
    return "forked" if os.fork() else "parent"


def stop_a_subprocess() -> int:
    """SIGTERM must work on what a call starts."""
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    return child.wait(20)


def survive_signals() -> str:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    time.sleep(0.01)
    return "alive"


def hold(started: str) -> None:
    Path(started).touch()
    time.sleep(60)


def interrupted_in_a_finalizer(started: str) -> str:
    class Slow:
        def __del__(self) -> None:
            Path(started).touch()
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.001)

    try:
        Slow()
        time.sleep(60)
    except ValueError:
        return "interrupted"
    return "swallowed"


async def patient(started: str) -> str:
    Path(started).touch()
    try:
        await asyncio.sleep(60)
    except ValueError as error:
        await asyncio.sleep(0.001)
        return f"handled {error}"
    return "never"


_hoarded: list[bytes] = []


def hoard(size: int) -> int:
    _hoarded.append(b"x" * size)
    return os.getpid()


def program() -> None:
    """Hold a pool with busy and idle children until killed; say which processes there are."""
    from pools.prefork import PreforkPool

    folder = sys.argv[1]
    pool = PreforkPool(3)
    pids = {pool.submit(where).result(60)[:2] for _ in range(20)}
    busy = [pool.spawn(hold, f"{folder}/busy-{number}") for number in range(2)]
    while not all(os.path.exists(f"{folder}/busy-{number}") for number in range(2)):
        time.sleep(0.01)
    children = {child.pid for nursery in pool._keeper._nurseries for child in nursery.children.values()}
    print(*children, *(server for _, server in pids), flush=True)
    time.sleep(600)
    pool.close(0)
    del busy


if __name__ == "__main__":
    program()
