"""Tasks that don't end by themselves, as an application of greenq and as one of Celery.

`LIMITED_BROKER` says where they are sent and where results are kept, `LIMITED_SIDE` whose application it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import Any

SIDE = os.environ.get("LIMITED_SIDE", "greenq")
NAPS = bool(os.environ.get("LIMITED_NAPS"))
"""For pools where a soft limit waits for a blocking call to return: then no call blocks for long."""

if SIDE == "celery":
    from celery.exceptions import SoftTimeLimitExceeded
else:
    from greenq.errors import SoftTimeLimitExceeded


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.02) if NAPS else left)


def sleeps() -> None:
    wait(60)


def reads() -> None:
    """Waits for a peer that never answers."""
    near, far = socket.socketpair()
    with near, far:
        if NAPS:
            near.settimeout(0.02)
        while True:
            with contextlib.suppress(TimeoutError):
                near.recv(1)


def spins() -> None:
    while True:
        pass


def swallows() -> None:
    while True:
        with contextlib.suppress(Exception):
            wait(60)


def swallows_all() -> None:
    while True:
        with contextlib.suppress(BaseException):
            wait(60)


def survives() -> str:
    with contextlib.suppress(BaseException):
        wait(60)
    return "survived"


def catches() -> str:
    try:
        wait(60)
    except SoftTimeLimitExceeded:
        return "caught"
    return "never"


def turns() -> None:
    try:
        wait(60)
    except SoftTimeLimitExceeded:
        raise ValueError("too slow", 1) from None


def cleans() -> None:
    try:
        wait(60)
    finally:
        wait(0.2)


def breaks() -> None:
    try:
        wait(60)
    finally:
        raise KeyError("cleanup")


def quick() -> str:
    return "quick"


async def awaits() -> None:
    await asyncio.sleep(60)


async def awaits_catching() -> str:
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        return "caught"
    return "never"


async def awaits_deaf() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)


TASKS = (
    sleeps, reads, spins, swallows, swallows_all, survives, catches, turns, cleans, breaks, quick
)  # fmt: skip
COROUTINES = (awaits, awaits_catching, awaits_deaf)


def make(broker: str) -> Any:
    """The application of this side, working at an address."""
    app: Any
    if SIDE == "celery":
        from celery import Celery

        app = Celery("limited", broker=broker, backend=broker, set_as_current=False)
        app.conf.update(
            broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, task_acks_late=True
        )
    else:
        from greenq import GreenQ

        app = GreenQ("limited", broker=broker, results=broker)
    for function in TASKS if SIDE == "celery" else (*TASKS, *COROUTINES):
        app.task(function, name=f"limited.{function.__name__}")
    app.task(name="limited.soft", soft_time_limit=0.4)(sleeps)
    if not os.environ.get("LIMITED_SOFT_ONLY"):
        app.task(name="limited.hard", time_limit=0.4)(sleeps)
    if SIDE == "greenq" and not os.environ.get("LIMITED_SOFT_ONLY"):
        app.task(name="limited.kept", time_limit=0.6, acks_on_timeout=False)(sleeps)
    return app


if "LIMITED_BROKER" in os.environ:
    app = make(os.environ["LIMITED_BROKER"])
