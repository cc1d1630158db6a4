"""Hear of results as they are stored: one connection and one reader for all waiters of a process."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from greenq.redis.address import Address
from greenq.redis.failures import Closed, Failure, Late, Unreachable, refusal
from greenq.redis.link import Link
from greenq.redis.opening import open_link
from greenq.redis.resp import PUSHES, ReplyError, pack
from pools import native

__all__ = ["LARGE", "Question", "Subscriber"]

log = logging.getLogger("greenq.results")

CONNECT_WITHIN = 5.0
PAUSE_FIRST, PAUSE_MOST = 0.05, 2.0
"""Seconds between attempts to connect again: doubled each time, up to the most."""
KEPT = 1000
"""Channels that nobody waits for any more but that may stay: the next wait is often for the same."""
LOOK_EVERY = 5.0
"""Seconds of silence after which the reader asks whether the server is still there, and that it then has to
answer: a connection that the network has forgotten would be silent for ever."""
LARGE = 500
"""Keys whose commands could fill the socket's buffer: they are sent where blocking does no harm."""
HEAD_MOST, HEADS_MOST = 16384, 4_000_000
"""Bytes of a stored value, and of all together, that are read on this connection: Redis ends a subscriber
that is sent too much at once. What is longer is read on another one."""


class Question:
    """What a waiter asks as it subscribes, answered on the same connection: so nothing falls in between.

    Parameters:
        answered: called by whoever reads, with what is stored, or with nothing if that cannot be told.

    Attributes:
        error: why it cannot be told.
        signal: set after `answered` was called.
    """

    __slots__ = ("answered", "answers", "error", "head", "keys", "signal")

    def __init__(self, keys: Sequence[str], answered: Callable[[dict[str, bytes]], None]) -> None:
        self.keys = keys
        self.answered = answered
        self.head = max(1, min(HEAD_MOST, HEADS_MOST // max(1, len(keys))))
        self.signal = native.Signal()
        self.answers: list[Any] = []
        self.error: Failure | None = None

    def commands(self) -> list[bytes]:
        """What is sent for it: one command and so one answer for each key, or a PING if there is none."""
        return [pack("GETRANGE", key, 0, self.head - 1) for key in self.keys] or [pack("PING")]

    def fail(self, error: Failure) -> None:
        """There will be no answer."""
        self.error = error
        self.answered({})
        self.signal.set()

    def found(self) -> tuple[dict[str, bytes], list[str]]:
        """What is stored, and the keys of what is longer than its head."""
        stored = {
            key: value
            for key, value in zip(self.keys, self.answers, strict=False)
            if type(value) is bytes and value
        }
        long = [key for key, value in stored.items() if len(value) >= self.head]
        return {key: value for key, value in stored.items() if len(value) < self.head}, long


class Subscriber:
    """Subscribes to keys, and tells what is published there.

    A native thread that waits alone reads itself: that spares each result the way through another thread.
    As soon as there are others, or whoever waits must let green threads run, a thread reads for them all.

    Parameters:
        heard: called with keys and what was stored there, by whoever reads.
        wanted: the keys that somebody waits for; asked when a lost connection was made again.
        read: reads whole values over another connection.
    """

    def __init__(
        self,
        address: Address,
        heard: Callable[[dict[str, bytes]], None],
        wanted: Callable[[], list[str]],
        read: Callable[[list[str]], dict[str, bytes]],
    ) -> None:
        self.pid = os.getpid()
        self._address = address
        self._heard = heard
        self._wanted = wanted
        self._whole = read
        self._lock = native.Lock()
        self._link: Link | None = None
        self._reader: object = None
        """Stands for the one who reads; None while nobody does."""
        self._others: set[object] = set()
        """Stand for those who wait while somebody else reads."""
        self._called_until = 0.0
        """Until when a thread that was started may take to read."""
        self._closed = False
        self._subscribed: set[str] = set()
        self._idle: dict[str, None] = {}
        self._asked: deque[Question] = deque()
        """Sent and not yet answered, in order."""
        self._pending: list[Question] = []
        """Not sent: there is no connection yet, or not again."""

    def ask(self, question: Question) -> None:
        """Subscribe to the question's keys, and ask what is stored there already.

        Raises:
            Closed: it was closed.
        """
        if len(question.keys) > LARGE:
            native.run(self._put, question)
        else:
            self._put(question)

    def _put(self, question: Question) -> None:
        with self._lock:
            if self._closed:
                raise Closed("it was closed: make another one")
            for key in question.keys:
                self._idle.pop(key, None)
            if self._link is None:
                self._pending.append(question)
            else:
                self._send(self._link, [question])

    def _send(self, link: Link, questions: Sequence[Question]) -> None:
        """Subscribe and ask; the lock is held, so that answers come in the order of `_asked`."""
        new = list(dict.fromkeys(k for q in questions for k in q.keys if k not in self._subscribed))
        data = [pack("SUBSCRIBE", *new)] if new else []
        for question in questions:
            question.answers = []
            data += question.commands()
        try:
            self._subscribed.update(new)
            self._asked.extend(questions)
            link.send_beside(b"".join(data))
        except Failure:
            link.interrupt()  # the reader connects and asks again
        except BaseException:
            # An interrupt from outside must not leave a question that was not sent among those that were.
            link.interrupt()
            raise

    def wait(self, signal: native.Signal, deadline: float, alone: bool) -> bool:
        """Wait until `deadline`, on the monotonic clock, for a signal that reading sets; True if it was set.

        Parameters:
            alone: the calling thread may read itself, if it is a native one and nobody else reads.
        """
        alone = alone and native.is_native()
        me = object()
        try:
            while not signal.is_set and (left := deadline - time.monotonic()) > 0:
                with self._lock:
                    self._others.add(me)
                    if alone and self._reader is None:
                        self._others.discard(me)
                        self._reader = me
                    start = self._lacks_reader()
                if self._reader is me:
                    self._read(signal, deadline)
                    break
                if start:
                    native.start(self._read_for_all, "greenq-results")
                # Whoever read may have been ended from outside: look again now and then.
                signal.wait(min(left, LOOK_EVERY))
        except BaseException as error:
            link = self._link
            if self._reader is me and link is not None:
                # Half of an answer may be lost, and the next one be taken for it: begin anew.
                self._interrupted(link, Unreachable(f"the one who read was interrupted: {error!r:.80}"))
            raise
        finally:
            self._stop_reading(me)
        return signal.is_set

    def _lacks_reader(self) -> bool:
        """Whether a thread is to be started, as some wait and nobody reads; the lock is held."""
        now = time.monotonic()
        if self._reader is not None or not self._others or now < self._called_until:
            return False
        self._called_until = now + LOOK_EVERY
        return True

    def _stop_reading(self, me: object) -> None:
        """Wait no more; if it was the reader, another one reads for those who still wait."""
        with self._lock:
            self._others.discard(me)
            if self._reader is me:
                self._reader = None
            start = self._lacks_reader()
        if start:
            native.start(self._read_for_all, "greenq-results")

    def leave(self, keys: Iterable[str]) -> None:
        """Nobody waits for these any more: unsubscribe, but not at once."""
        with self._lock:
            self._idle.update((key, None) for key in keys if key in self._subscribed)
            if len(self._idle) <= KEPT or self._link is None:
                return
            # Somebody may wait again for one of them.
            dropped = list(self._idle.keys() - set(self._wanted()))
            self._idle.clear()
            self._subscribed.difference_update(dropped)
            for at in range(0, len(dropped), KEPT):
                with contextlib.suppress(Failure):
                    self._link.send_beside(pack("UNSUBSCRIBE", *dropped[at : at + KEPT]))

    def close(self) -> None:
        """End the connection and the thread. Idempotent."""
        self._closed = True
        link = self._link
        if link is not None and self.pid == os.getpid():
            link.interrupt()

    # ── the reader ───────────────────────────────────────────────────────────────────────────────────────

    def _read_for_all(self) -> None:
        """The thread's life: from then on it reads as long as somebody waits or the connection lasts."""
        me = object()
        with self._lock:
            self._called_until = 0.0
            if self._reader is not None:
                return
            self._reader = me
        try:
            self._read(None, math.inf)
        finally:
            self._stop_reading(me)

    def _read(self, signal: native.Signal | None, deadline: float) -> None:
        """Read until closed, or until the signal is set or `deadline` is over."""
        pause = PAUSE_FIRST
        while not self._closed:
            link = self._link
            try:
                if link is None:
                    link = open_link(self._address, time.monotonic() + CONNECT_WITHIN, off_hub=True)
                    self._resume(link)
                    pause = PAUSE_FIRST
                self._listen(link, signal, deadline)
            except Failure as error:
                if self._interrupted(link, error):
                    return
            except Exception as error:  # a bug here must not leave every later waiter without its answer
                log.exception("the reader of results goes on after an error of its own")
                if self._interrupted(link, Failure(f"the reader of results failed: {error!r:.300}")):
                    return
            left = deadline - time.monotonic()
            if left <= 0 or (signal is not None and signal.is_set):
                return
            (signal or native.Signal()).wait(min(pause, left))
            pause = min(pause * 2, PAUSE_MOST)
        self._interrupted(None, Closed("it was closed"))

    def _resume(self, link: Link) -> None:
        """Ask what waits to be asked, and what was stored while there was no connection."""
        missed = Question(self._wanted(), self._heard)
        with self._lock:
            self._link = link
            self._subscribed.clear()
            self._idle.clear()
            questions, self._pending = [missed, *self._pending], []
            self._send(link, questions)

    def _interrupted(self, link: Link | None, error: Failure) -> bool:
        """Keep the questions for the next connection, or fail them if there was none; True to end."""
        with self._lock:
            self._link = None
            again = [question for question in self._asked if question.keys]
            self._asked.clear()
            failed: list[Question] = []
            if link is None or self._closed:
                failed, self._pending = [*again, *self._pending], []
            else:
                self._pending = [*again, *self._pending]
            ends = self._closed or (not self._pending and not self._wanted())
            if ends:
                self._reader = None
        if link is not None:
            link.close()
        for question in failed:
            question.fail(error)
        return ends

    def _listen(self, link: Link, signal: native.Signal | None, deadline: float) -> None:
        silent = False
        while not self._closed and (signal is None or not signal.is_set):
            try:
                reply = link.next(min(deadline, time.monotonic() + LOOK_EVERY))
            except Late:
                if time.monotonic() >= deadline:
                    return
                if silent:
                    raise
                silent = True
                with self._lock:
                    self._send(link, [Question([], self._heard)])
                continue
            silent = False
            if type(reply) in PUSHES:
                if reply[0] == b"message":
                    self._heard({reply[1].decode(): reply[2]})
                continue
            self._answer(reply)

    def _answer(self, reply: Any) -> None:
        question = self._asked[0]
        question.answers.append(reply)
        if len(question.answers) < len(question.keys):
            return
        with self._lock:
            self._asked.popleft()
        if type(reply) is ReplyError and not str(reply).startswith("WRONGTYPE"):
            question.fail(refusal(str(reply)))
            return
        found, long = question.found()
        try:
            found |= self._whole(long) if long else {}
        except Failure as error:
            question.fail(error)
            return
        question.answered(found)
        question.signal.set()
