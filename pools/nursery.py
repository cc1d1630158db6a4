"""The prefork pool's view of its fork server and of the children that come from it."""

from __future__ import annotations

import marshal
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pools import children, forkserver, frames
from pools.base import Call
from pools.errors import PoolError

__all__ = ["ChildHandle", "Nursery"]

OBEDIENCE = 10.0
"""Seconds in which a fork server must take an order: it does nothing that takes long."""

AT_ONCE = 16
"""How many children are asked for before the first of them is there."""


class ChildHandle:
    """One child, as the parent sees it.

    Attributes:
        number: its own, never used again.
        pid: its process id, 0 until the server has told it.
        up: it has said that it is ready.
        call: what it runs.
        killed: it was sent SIGKILL because its call was to be killed.
        retiring: it gets no further call, and ends when it is idle.
        serial: the number of its last call, from 1.
    """

    __slots__ = (
        "_out",
        "bells",
        "call",
        "failure",
        "jobs",
        "killed",
        "number",
        "nursery",
        "pid",
        "reader",
        "retiring",
        "serial",
        "up",
    )

    def __init__(self, number: int, nursery: Nursery, jobs: socket.socket, bells: socket.socket) -> None:
        self.number = number
        self.nursery = nursery
        self.jobs = jobs
        self.bells = bells
        self.pid = 0
        self.up = False
        self.call: Call | None = None
        self.killed = False
        self.retiring = False
        self.serial = 0
        self.failure = ""
        self.reader = frames.FrameReader()
        self._out = memoryview(b"")

    def send(self, data: bytes) -> bool:
        """Send what goes without waiting; False if some is left for `send_more`.

        Raises:
            OSError: it has died, and nothing has been sent.
        """
        try:
            sent = self.jobs.send(data)
        except BlockingIOError:
            sent = 0
        self._out = memoryview(data)[sent:]
        return sent == len(data)

    def send_more(self) -> bool:
        """Send more of what was left; True if that was all."""
        try:
            self._out = self._out[self.jobs.send(self._out) :]
        except BlockingIOError:
            return False
        except OSError:  # it has died, and its end will be reported
            return True
        return not self._out

    def ring(self, exception: BaseException) -> None:
        """Have `exception` raised in the running call.

        Raises:
            PoolError: the exception cannot be sent.
        """
        try:
            self.bells.send(children.dump_interrupt(self.serial, exception))
        except BlockingIOError:
            return  # hundreds of exceptions wait there already: the child does not run Python code now
        except ConnectionError:
            return  # it has died
        except Exception as error:
            raise PoolError(
                f"the exception {exception!r} cannot be sent to another process: {error}"
            ) from error
        self.nursery.signal(self, children.INTERRUPT)

    def kill(self) -> None:
        """End it now."""
        self.killed = True
        self.nursery.signal(self, signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end: it reads the end of its jobs."""
        self.retiring = True
        try:
            self.jobs.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Free its descriptors."""
        self.jobs.close()
        self.bells.close()


class Nursery:
    """A fork server, started by exec from the calling thread: it is killed when that thread ends.

    Parameters:
        setup: see `Pool`.
    """

    def __init__(self, setup: tuple[str, tuple[Any, ...]] | None) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(OBEDIENCE)
        self.bare = False
        self.ready = False
        self.failure = ""
        self.children: dict[int, ChildHandle] = {}
        self.unborn = 0
        orders = {
            "path": sys.path,
            "main": frames.main_source(),
            "setup": None if setup is None else (setup[0], _dump_arguments(setup)),
        }
        with theirs, open(os.memfd_create("pools-orders"), "wb") as file:
            marshal.dump(orders, file)
            file.flush()
            ends = (theirs.fileno(), file.fileno())
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                    "-P",  # or the directory of the script, with its own asyncio.py, would be searched first
                    forkserver.__file__,
                    *map(str, ends),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=ends,
            )

    def bear(self, number: int) -> ChildHandle:
        """Ask for another child."""
        jobs, their_jobs = socket.socketpair()
        bells, their_bells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        jobs.setblocking(False)
        bells.setblocking(False)
        child = ChildHandle(number, self, jobs, bells)
        with their_jobs, their_bells:
            self._order("fork", number, 0, [their_jobs.fileno(), their_bells.fileno()])
        self.children[number] = child
        self.unborn += 1
        return child

    @property
    def patient(self) -> bool:
        """Whether enough children are on their way."""
        return not self.ready or self.unborn >= AT_ONCE

    def signal(self, child: ChildHandle, number: int) -> None:
        """Send a signal to a child; the server knows whether its process id is still its own."""
        self._order("signal", child.number, number, [])

    def _order(self, order: str, child: int, extra: int, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self.control, [marshal.dumps((order, child, int(extra)))], descriptors)
        except TimeoutError:
            # It is stopped or stuck, and nothing would ever be killed or replaced: better without it.
            self.process.kill()
        except OSError:
            return  # it has died, and all children with it: that is noticed where it is read

    def hear(self) -> Iterator[tuple[str, int, Any]]:
        """Give what the server tells; ``("gone", 0, None)`` at its end."""
        try:
            message = self.control.recv(1 << 18)
        except ConnectionError:
            message = b""
        if not message:
            yield "gone", 0, None
            return
        yield marshal.loads(message)

    def close(self, timeout: float) -> None:
        """End the server, and with it its children; by force after `timeout` seconds."""
        self.control.close()
        if not self.ready:  # it is busy with the setup, and does not listen
            self.process.kill()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, and ends with that
                self.process.wait(timeout)


def _dump_arguments(setup: tuple[str, tuple[Any, ...]]) -> bytes:
    try:
        return pickle.dumps(setup[1], 5)
    except Exception as error:
        raise PoolError(f"the arguments of the setup {setup[0]} cannot be pickled: {error}") from error
