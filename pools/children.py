"""What runs in a child of the prefork pool: one call after another, each in a fresh context."""

from __future__ import annotations

import contextvars
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from pools import frames
from pools.errors import RemoteFailure

__all__ = ["INTERRUPT", "NUMBER", "Child", "run_setup"]

INTERRUPT = signal.SIGUSR1
"""Tells a child to look for exceptions that its running call shall raise."""

NUMBER = struct.Struct("<Q")
NOTHING: tuple[int, bytes, BaseException | None] = (0, b"", None)


LAST_ACTS: list[Callable[[], object]] = []
"""What a pool's setup wants done when a child ends in good order."""


def run_setup(setup: tuple[str, bytes] | None) -> None:
    """Import and call ``"module:function"`` with pickled arguments."""
    if setup is not None:
        name, arguments = setup
        module, _, attribute = name.partition(":")
        __import__(module)
        function: Any = sys.modules[module]
        for part in attribute.split("."):
            function = getattr(function, part)
        function(*frames.load(arguments))


class Child:
    """The life of a child.

    Parameters:
        jobs: stream socket: calls come in, outcomes go out; its end is the child's.
        bells: datagrams, each the number of a call and a pickled exception to raise in it.
    """

    def __init__(self, jobs: socket.socket, bells: socket.socket) -> None:
        self._jobs = jobs
        self._bells = bells
        self._pid = os.getpid()
        self._running = 0
        self._interrupts: list[tuple[int, bytes]] = []
        self._loading = False
        self._raised = NOTHING
        self._unraisable = sys.__unraisablehook__

    def serve(self) -> None:
        """Run calls until the parent closes its end."""
        signal.signal(INTERRUPT, self._ring)
        self._unraisable = sys.unraisablehook
        sys.unraisablehook = self._repeat
        os.register_at_fork(after_in_child=self._after_fork)
        self._send(frames.READY, 0, b"")
        while True:
            job = self._receive()
            if job is None:
                return
            number, payload = job
            kind, outcome = self._run(number, payload)
            if os.getpid() != self._pid:  # the call forked, and this is the fork's return from it
                os._exit(0)
            self._send(kind, number, outcome)

    def fail(self, text: str) -> None:
        """Tell the parent that setup failed here."""
        self._send(frames.FAILED, 0, text.encode())

    def _receive(self) -> tuple[int, bytes] | None:
        """Wait for the next call; the parent never sends one before it has the last one's outcome."""
        data = self._jobs.recv(frames.SHORT)
        while data and len(data) < frames.HEADER.size:
            more = self._jobs.recv(frames.SHORT)
            data = data + more if more else b""
        if not data:
            return None
        _, number, length = frames.HEADER.unpack_from(data)
        if len(data) == frames.HEADER.size + length:
            return number, data[frames.HEADER.size :]
        whole = bytearray(frames.HEADER.size + length)
        whole[: len(data)] = data
        view = memoryview(whole)[len(data) :]
        while view:
            got = self._jobs.recv_into(view)
            if not got:
                return None
            view = view[got:]
        return number, bytes(whole[frames.HEADER.size :])

    def _send(self, kind: int, number: int, payload: bytes) -> None:
        self._jobs.sendall(frames.frame(kind, number, payload))

    def _run(self, number: int, payload: bytes) -> tuple[int, bytes]:
        try:
            try:
                fn, args = frames.load(payload)
                self._running = number  # only now: an interrupt in the middle of an import would break it
                if self._interrupts:
                    self._raise_due()
                value = contextvars.Context().run(fn, *args)
            finally:
                self._running = 0
                self._raised = NOTHING
            return frames.dump_outcome(value)
        except BaseException as error:
            self._running = 0  # also if an interrupt arrived in the middle of the line that does so above
            return frames.ERROR, frames.dump_error(error)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        """Raise what the parent sent, if it is for the running call: that is what this signal is for."""
        while True:
            try:
                data = self._bells.recv(frames.LONG, socket.MSG_DONTWAIT)
            except OSError:
                break
            if not data:
                break
            self._interrupts.append((NUMBER.unpack_from(data)[0], data[NUMBER.size :]))
        if self._running and not self._loading:
            self._raise_due()

    def _raise_due(self) -> None:
        """Raise the first interrupt of the running call; drop those of earlier calls."""
        while self._interrupts:
            number, pickled = self._interrupts[0]
            if number > self._running:
                return
            del self._interrupts[0]
            if number == self._running:
                self._loading = True
                try:
                    error = _load_interrupt(pickled)
                finally:
                    self._loading = False
                self._raised = number, pickled, error
                if self._interrupts:  # another came meanwhile
                    os.kill(self._pid, INTERRUPT)
                raise error

    def _repeat(self, unraisable: sys.UnraisableHookArgs) -> None:
        """An exception was swallowed, as in a finalizer: if it was an interrupt, raise it again soon."""
        number, pickled, error = self._raised
        if unraisable.exc_value is None or unraisable.exc_value is not error:
            self._unraisable(unraisable)
        elif number == self._running:
            self._interrupts.insert(0, (number, pickled))
            again = threading.Timer(0.01, os.kill, (self._pid, INTERRUPT))
            again.daemon = True
            again.start()

    def _after_fork(self) -> None:
        """In a process that a call forks: it must neither answer for the child nor keep its ends open."""
        if os.getpid() != self._pid:
            self._jobs.close()
            self._bells.close()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, INTERRUPT):
                signal.signal(number, signal.SIG_DFL)


def _load_interrupt(pickled: bytes) -> BaseException:
    try:
        error = frames.load(pickled)
    except Exception as reason:
        return RemoteFailure("interrupt", f"its exception cannot be unpickled here: {reason!r}")
    return error if isinstance(error, BaseException) else RemoteFailure("interrupt", repr(error))


def dump_interrupt(number: int, exception: BaseException) -> bytes:
    """Pack an exception to raise in call `number`."""
    return NUMBER.pack(number) + pickle.dumps(exception, 5)
