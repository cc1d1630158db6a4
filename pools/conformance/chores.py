"""The functions that the tests spawn; importable, so that they can be sent to other processes.

They wait with a native signal, which waits as the calling thread waits, in a patched process or not.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pools.native import Signal

__all__ = [
    "Interruption",
    "astray",
    "cancelled_coroutine",
    "catch",
    "cleanup",
    "combine",
    "deaf",
    "die",
    "doubled_later",
    "explode",
    "explode_later",
    "hold",
    "look_at_context",
    "nap",
    "note",
    "stubborn",
    "timed",
    "use_asyncio",
    "wander",
]

LONGEST = 60.0
"""Seconds after which a call that waits gives up, so that a failed test ends."""

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")


class Interruption(Exception):
    """What the tests interrupt calls with."""


def nap(seconds: float) -> None:
    """Wait in small steps: a native thread can be interrupted between them."""
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        Signal().wait(min(rest, 0.02))


def note(path: str, text: str = "x") -> None:
    """Leave a sign that every process can see."""
    with open(path, "a") as file:
        file.write(text)


def hold(gate: str, started: str | None = None) -> str:
    """Wait until the file `gate` is there."""
    if started is not None:
        note(started)
    end = time.monotonic() + LONGEST
    while not os.path.exists(gate) and time.monotonic() < end:
        Signal().wait(0.01)
    return "held"


def combine(*args: object) -> tuple[object, ...]:
    """Return the arguments."""
    return args


def explode(text: str) -> None:
    """Raise a LookupError from a function of its own."""
    _light_the_fuse(text)


def _light_the_fuse(text: str) -> None:
    raise LookupError(text)


def timed(seconds: float) -> tuple[float, float]:
    """Return when it began and ended."""
    begin = time.monotonic()
    nap(seconds)
    return begin, time.monotonic()


def catch(started: str) -> tuple[object, ...]:
    """Return what it was interrupted with."""
    try:
        note(started)
        nap(LONGEST)
    except Interruption as error:
        return error.args
    return ("never interrupted",)


def astray(seconds: float) -> int:
    """Be busy for a moment: an interrupt may come before, during or after it."""
    end = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < end:
        turns += 1
        if turns % 50 == 0:
            Signal().wait(0.0005)
    return turns


def cleanup(started: str, cleaned: str) -> None:
    """Clean up in a ``finally`` block that waits itself."""
    try:
        note(started)
        nap(LONGEST)
    finally:
        nap(0.05)
        note(cleaned)


def stubborn(started: str, swallowed: str) -> str:
    """Ignore what ends it, once."""
    try:
        note(started)
        nap(LONGEST)
    except BaseException:
        note(swallowed)
    nap(LONGEST)
    return "never ended"


def deaf(started: str, gate: str) -> str:
    """Swallow whatever ends it, until the file `gate` is there."""
    note(started)
    end = time.monotonic() + LONGEST
    while not os.path.exists(gate) and time.monotonic() < end:
        with suppress(BaseException):
            nap(0.02)
    return "ended by itself"


def die() -> None:
    """End the process that runs this, as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def wander(number: int) -> int:
    """End in one of several ways, depending on the number."""
    try:
        if number % 5 == 1:
            nap(0.002)
        elif number % 5 == 2:
            for _ in range(4):
                nap(0.001)
        elif number % 5 == 3:
            try:
                nap(0.02)
            finally:
                nap(0.001)
        elif number % 5 == 4:
            raise LookupError(number)
    except Interruption as error:
        if error.args != (number,):
            raise ValueError(f"the call {number} got the interrupt of {error.args}") from error
        if number % 2:
            raise
    return number


def look_at_context() -> str:
    """Return the mark that an earlier call left, and leave one."""
    found = mark.get()
    mark.set("soiled")
    return found


async def doubled_later(number: int) -> int:
    """Return twice the number after a while."""
    await asyncio.sleep(0.01)
    return 2 * number


async def explode_later(text: str) -> None:
    """Raise a LookupError after a while."""
    await asyncio.sleep(0.01)
    raise LookupError(text)


async def cancelled_coroutine(started: str, cleaned: str) -> None:
    """Note that it was ended."""
    try:
        note(started)
        await asyncio.sleep(LONGEST)
    finally:
        note(cleaned)


async def use_asyncio(path: str) -> list[object]:
    """Do what monkey-patching breaks: a thread, a name resolution and a child process."""
    text = await asyncio.to_thread(Path(path).read_text)
    addresses = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=subprocess.PIPE)
    printed, _ = await child.communicate()
    return [text, addresses[0][4], printed.decode().strip(), child.returncode]
