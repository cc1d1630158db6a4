"""Keeps the prefork pool's children: one native thread that starts, hears, replaces and ends them."""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pools import frames, native
from pools.errors import PoolError
from pools.memory import resident
from pools.nursery import ChildHandle, Nursery
from pools.reporting import complain

__all__ = ["Keeper", "Owner"]

GONE = -int(signal.SIGKILL)
"""How children end whose fork server has died."""

PATIENCE = 3.0
"""Seconds that a fork server gets to end its children before it is killed, and they with it."""

log = logging.getLogger(__name__)


class Owner(ABC):
    """What the keeper tells the pool, in its thread."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many children there shall be."""

    @abstractmethod
    def child_ready(self, child: ChildHandle) -> None:
        """The child waits for its first call."""

    @abstractmethod
    def child_answered(self, child: ChildHandle, kind: int, payload: bytes) -> None:
        """The child's call has ended, and it waits for another."""

    @abstractmethod
    def child_lost(self, child: ChildHandle, exitcode: int | None) -> None:
        """The child has ended."""

    @abstractmethod
    def release(self, child: ChildHandle) -> None:
        """The child shall get no further call; dismiss it when it has none."""


class Keeper:
    """Keeps `owner.capacity` children until it is stopped.

    Parameters:
        owner: the pool.
        setup: see `Pool`.
    """

    def __init__(self, owner: Owner, setup: tuple[str, tuple[Any, ...]] | None) -> None:
        self._owner = owner
        self._setup = setup
        self._selector = selectors.DefaultSelector()
        self._inbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._wake, self._bell = socket.socketpair()
        for end in (self._wake, self._bell):
            end.setblocking(False)
        self._current: Nursery | None = None
        self._candidate: Nursery | None = None
        self._nurseries: list[Nursery] = []
        self._numbers = 0
        self._failures = 0
        self._retry_at = 0.0
        self._stopping = False
        self._answer: tuple[native.Signal, list[str]] | None = None
        """Who waits for a fork server to be ready, and what to tell: an empty list for success."""
        self.since = 0.0
        """When the thread began to work; 0.0 while it waits."""
        self._ident = 0
        self.thread = native.start(self._run, "prefork")

    @property
    def here(self) -> bool:
        """Whether the calling thread is the keeper's."""
        return native.get_ident() == self._ident

    # ── from other threads ───────────────────────────────────────────────────────────────────────────────

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn` called in the keeper's thread soon."""
        self._inbox.append((fn, args))
        with suppress(OSError):  # full, so that it wakes anyway; or closed with the thread
            self._bell.send(b"!")

    def renew(self, timeout: float) -> None:
        """Start a fork server, and let children come from it from now on.

        Raises:
            PoolError: it does not get ready in `timeout` seconds, or its setup fails; the children stay.
        """
        told: list[str] = []
        ready = native.Signal()
        self.post(self._renew, ready, told)
        if not ready.wait(timeout):
            told.append(f"the pool's setup did not end within {timeout:g} seconds")
            self.post(self._give_up)
        if told:
            raise PoolError(told[0])

    def stop(self) -> None:
        """End all children and the thread."""
        self.post(self._stop)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self._ident = native.get_ident()
        self._selector.register(self._wake, selectors.EVENT_READ, self._read_inbox)
        while not self._stopping:
            wait = None if self._retry_at == 0.0 else max(0.0, self._retry_at - time.monotonic())
            events = self._selector.select(wait)
            self.since = time.monotonic()
            for key, mask in events:
                _call(key.data, mask)
            if self._retry_at and self.since >= self._retry_at:
                self._retry_at = 0.0
                self.adjust()
            self.since = 0.0
        for nursery in list(self._nurseries):
            self._close(nursery)
        self._selector.close()
        self._wake.close()
        self._bell.close()

    def _read_inbox(self, mask: int) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        while self._inbox:
            fn, args = self._inbox.popleft()
            _call(fn, *args)

    def _stop(self) -> None:
        self._stopping = True

    def _close(self, nursery: Nursery) -> None:
        self._nurseries.remove(nursery)
        for child in nursery.children.values():
            child.dismiss()
        with suppress(KeyError):
            self._selector.unregister(nursery.control)
        nursery.close(PATIENCE)
        for child in list(nursery.children.values()):
            self._lose(nursery, child, GONE)

    # ── fork servers ─────────────────────────────────────────────────────────────────────────────────────

    def _renew(self, ready: native.Signal, told: list[str]) -> None:
        if self._answer is not None:
            told.append("the pool is being renewed already")
            ready.set()
            return
        self._answer = ready, told
        self._start_nursery()

    def _start_nursery(self) -> None:
        try:
            nursery = Nursery(self._setup)
        except Exception as error:
            self._tell(f"the pool's fork server cannot be started: {error}")
            self._fail()
            return
        self._candidate = nursery
        self._nurseries.append(nursery)
        self._selector.register(nursery.control, selectors.EVENT_READ, lambda mask: self._hear(nursery))

    def _give_up(self) -> None:
        self._answer = None
        if self._candidate is not None:
            self._close(self._candidate)
            self._candidate = None

    def _tell(self, *failure: str) -> None:
        """Answer whoever waits for a fork server; nobody does when one is replaced that died."""
        if self._answer is not None:
            ready, told = self._answer
            self._answer = None
            told.extend(failure)
            ready.set()
        elif failure:
            log.error("%s", failure[0])

    def _fail(self) -> None:
        """Wait a little longer after each failure in a row."""
        self._failures += 1
        self._retry_at = time.monotonic() + min(30.0, 0.1 * 2**self._failures)

    def _hear(self, nursery: Nursery) -> None:
        if nursery not in self._nurseries:
            return  # closed by what came before in the same batch of events
        for what, number, extra in nursery.hear():
            if what == "forked":
                nursery.unborn -= 1
                nursery.children[number].pid = extra
                self.adjust()
            elif what == "ended":
                nursery.unborn -= extra is None
                self._lose(nursery, nursery.children[number], extra)
                self.adjust()
            elif what == "ready":
                self._ready(nursery)
            elif what == "bare":
                nursery.bare = True
                log.warning(
                    "the setup %s leaves open what a fork would break, so each child runs it itself, which "
                    "costs time and memory: %s",
                    self._setup and self._setup[0],
                    ", ".join(extra),
                )
            elif what == "failed":
                nursery.failure = extra
            else:
                self._gone(nursery)

    def _ready(self, nursery: Nursery) -> None:
        nursery.ready = True
        before, self._current = self._current, nursery
        self._candidate = None
        self.adjust()
        if before is not None:
            for child in list(before.children.values()):
                self._owner.release(child)
            self._close_if_empty(before)
        if not nursery.bare:
            self._tell()

    def _gone(self, nursery: Nursery) -> None:
        """The fork server has died, and its children with it."""
        self._close(nursery)
        if nursery is self._candidate:
            self._candidate = None
            code = nursery.process.returncode
            self._tell(
                f"the pool's setup failed:\n{nursery.failure}"
                if nursery.failure
                else f"the pool's fork server died in its setup (exit code {code})"
            )
        else:
            log.error(
                "the pool's fork server died (exit code %s): it is replaced", nursery.process.returncode
            )
        if nursery is self._current:
            self._current = None
        if self._current is None and not self._answer:
            self._fail()

    def _close_if_empty(self, nursery: Nursery) -> None:
        unused = nursery is not self._current and nursery.ready and not nursery.children
        if unused and nursery in self._nurseries:
            self._close(nursery)

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────

    def adjust(self) -> None:
        """Ask for the children that are missing, and release those that are too many."""
        try:
            self._adjust()
        except OSError as error:
            log.error("a child cannot be started, which is tried again: %s", error)
            self._fail()

    def _adjust(self) -> None:
        nursery = self._current
        if self._stopping or self._retry_at:
            return
        if nursery is None:
            if self._candidate is None and self._failures:
                self._start_nursery()
            return
        living = [child for child in nursery.children.values() if not child.retiring]
        for _ in range(self._owner.capacity - len(living)):
            if nursery.patient:
                break
            self._numbers += 1
            child = nursery.bear(self._numbers)
            self._listen(child)
        for child in sorted(living, key=lambda c: c.call is not None)[
            : max(0, len(living) - self._owner.capacity)
        ]:
            self._owner.release(child)

    def trim(self, memory: int) -> None:
        """Release the children that have run something and have more than `memory` bytes."""
        for nursery in self._nurseries:
            for child in list(nursery.children.values()):
                if child.serial and not child.retiring and child.pid and resident(child.pid) > memory:
                    self._owner.release(child)
        self.adjust()

    def _listen(self, child: ChildHandle, events: int = selectors.EVENT_READ) -> None:
        self._selector.register(child.jobs, events, lambda mask: self._serve(child, mask))

    def write_rest(self, child: ChildHandle) -> None:
        """Send the rest of a call as the child takes it."""
        with suppress(KeyError, ValueError):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            key = self._selector.get_key(child.jobs)
            self._selector.modify(child.jobs, both, key.data)

    def _serve(self, child: ChildHandle, mask: int) -> None:
        if child.number not in child.nursery.children:
            return  # lost by what came before in the same batch of events
        if mask & selectors.EVENT_WRITE and child.send_more():
            key = self._selector.get_key(child.jobs)
            self._selector.modify(child.jobs, selectors.EVENT_READ, key.data)
        if mask & selectors.EVENT_READ and not self._read(child):
            self._selector.unregister(child.jobs)
            child.nursery.signal(child, signal.SIGKILL)  # if it lives, it can't answer any more

    def _read(self, child: ChildHandle) -> bool:
        """Handle what has arrived; False at the end."""
        try:
            data = child.jobs.recv(child.reader.room)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for kind, _, payload in child.reader.feed(data):
            if kind == frames.READY:
                self._born(child)
            elif kind == frames.FAILED:
                child.failure = payload.decode()
            else:
                self._owner.child_answered(child, kind, payload)
        return len(data) > 0

    def _born(self, child: ChildHandle) -> None:
        child.up = True
        self._failures = 0
        if child.nursery is self._current and self._candidate is None:
            self._tell()
        self._owner.child_ready(child)

    def _lose(self, nursery: Nursery, child: ChildHandle, exitcode: int | None) -> None:
        """A child has ended: take what it sent before, and forget it."""
        if child.jobs in self._selector.get_map():
            self._selector.unregister(child.jobs)
            with suppress(OSError):
                while child.jobs.recv(1, socket.MSG_PEEK):
                    self._read(child)
        del nursery.children[child.number]
        child.close()
        if not child.up and not child.retiring and not self._stopping:
            text = f"the pool's setup failed in a child:\n{child.failure}"
            self._tell(
                text if child.failure else f"a child died before its first call (exit code {exitcode})"
            )
            self._fail()
        self._owner.child_lost(child, exitcode)
        self._close_if_empty(nursery)


def _call(fn: Callable[..., object], *args: Any) -> None:
    """Call it; what it raises must not end the thread that all children depend on."""
    try:
        fn(*args)
    except Exception:
        complain()
