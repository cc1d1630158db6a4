"""Any transport that kombu has, as a greenq broker: messages as Celery sends and reads them there.

`greenq.brokers.channel` hides kombu itself, `greenq.brokers.taken` holds what runs here,
`greenq.brokers.parking` gives delays, `greenq.brokers.graveyard` dead letters. One native thread owns the
connection, so that no transport ever stops a hub.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from greenq.brokers import bells
from greenq.brokers.base import Broker
from greenq.brokers.census import Census
from greenq.brokers.channel import Channel, Found
from greenq.brokers.graveyard import Graveyard
from greenq.brokers.owner import Late, Owner
from greenq.brokers.parking import Parking
from greenq.brokers.taken import Look, Taken
from greenq.brokers.transports import LARGEST, LONGEST_NAME, Address, parse, promises
from greenq.config.masking import mask
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishError, PublishTimeout
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement, Verdict, flaw
from greenq.sqlite.settling import check
from pools import native

__all__ = ["KombuBroker"]

POLL_FIRST = 0.02
"""Seconds between the first two looks into empty queues; the pause grows from there."""


class KombuBroker(Broker):
    """Carries messages over one of kombu's transports.

    Parameters:
        url: ``kombu+TRANSPORT://…``, or ``TRANSPORT://…`` where greenq has no broker of its own; see
            `greenq.brokers.transports.parse`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake, or the transport's package is not installed.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.address: Address = parse(url)
        self.guarantees = promises(self.address)
        self._timeout = timeout
        self._place = f"{self.address.url} {sorted(map(str, self.address.options.items()))}"
        self._channel = Channel(self.address)
        self._parking = Parking(self._channel)
        self._graveyard = Graveyard(self._channel)
        self._taken = Taken(self._channel, self._parking, self._graveyard)
        self._census = Census(self._channel, self._parking)
        self._owner = Owner("greenq-kombu", self._forget)
        self._process: str | None = None
        self._wakes = 0
        self._missed = False
        self._signals: set[native.Signal] = set()
        self._lock = native.Lock()
        self._closed = False

    def _call(
        self, fn: Callable[[], Any], timeout: float, undo: Callable[[Any], object] | None = None
    ) -> Any:
        """Have the connection's owner do something, within so many seconds."""
        if self._closed:
            raise BrokerError("this broker is closed: make another one")

        def guarded() -> Any:
            try:
                return fn()
            except Exception as error:
                raise self._channel.failed(error) from error

        try:
            return self._owner.call(guarded, timeout, undo)
        except Late as late:
            raise BrokerUnreachable(
                f"the broker at {mask(self.address.url.partition('?')[0])} did not answer within "
                f"{timeout:.3g} s ({late}): check that it runs and is not overloaded"
            ) from late

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        unsure = PublishTimeout(f"the broker did not confirm within {timeout:.3g} s; it may have arrived")
        errors: list[GreenqError | None] = [unsure] * len(messages)
        begun: list[bool] = []
        deadline = time.monotonic() + timeout
        try:
            self._call(lambda: self._publish(messages, errors, deadline, begun), timeout)
        except BrokerUnreachable as error:
            if not begun or not isinstance(error.__cause__, Late):
                raise
        bells.ring(self._place)
        return list(errors)

    def _publish(
        self,
        messages: Sequence[Message],
        errors: list[GreenqError | None],
        deadline: float,
        begun: list[bool],
    ) -> None:
        for i, message in enumerate(messages):
            if time.monotonic() >= deadline:
                errors[i] = PublishError("the time was up before this message's turn; nothing was sent")
                continue
            sending = False
            try:
                if (problem := flaw(message, LARGEST, LONGEST_NAME)) is not None:
                    raise PublishError(f"the message cannot be sent: {problem}; nothing was sent")
                self._channel.declare(message.queue)
                begun.append(True)
                sending = True
                self._send(message)
                errors[i] = None
            except PublishError as error:
                errors[i] = error
            except Exception as error:
                failure = self._channel.failed(error)
                lost = isinstance(failure, BrokerUnreachable)
                if lost and not begun:
                    raise failure from error
                errors[i] = PublishError(f"{failure}; nothing was sent")
                if lost:
                    errors[i + 1 :] = [errors[i]] * (len(messages) - i - 1)
                    if sending:
                        errors[i] = PublishTimeout(f"{failure}; the message may have arrived")
                    return

    def _send(self, message: Message) -> None:
        if message.due is None or message.due <= time.time() or message.headers.get("eta") is not None:
            self._channel.put(message.queue, message)
        else:
            # A due time that is not in the headers would be lost in the queue: no worker could know it.
            self._parking.send(message.queue, Found(message, None, 0), message.due)

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    def lease(self, process: str, seconds: float) -> None:
        self._open()
        self._process = process

    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        self._leased()
        deadline = time.monotonic() + timeout
        wanted = list(dict.fromkeys(queues))
        pause = POLL_FIRST
        with self._lock:
            missed, self._missed = self._missed, False
            wakes = self._wakes
        while n > 0:
            signal = native.Signal()
            self._listen(signal)
            try:
                look: Look = self._call(lambda: self._taken.take(wanted, n), self._timeout, self._untake)
                taken, busy, moment = look
                left = deadline - time.monotonic()
                if taken or left <= 0 or missed or wakes != self._wakes:
                    return taken
                if not busy:
                    rung = signal.wait(min(left, pause, left if moment is None else moment))
                    pause = POLL_FIRST if rung else min(pause * 1.5, self.address.polling)
            finally:
                self._ignore(signal)
        return []

    def _listen(self, signal: native.Signal) -> None:
        bells.add(self._place, signal)
        with self._lock:
            self._signals.add(signal)

    def _ignore(self, signal: native.Signal) -> None:
        bells.remove(self._place, signal)
        with self._lock:
            self._signals.discard(signal)

    def _untake(self, look: Look) -> None:
        self._taken.untake(look[0])

    def wake(self) -> None:
        with self._lock:
            self._wakes += 1
            self._missed = not self._signals
            for signal in self._signals:
                signal.set()

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        check(settlements)
        self._open()
        if not settlements:
            return []
        done: list[bool] = self._call(
            lambda: self._taken.settle(settlements),
            timeout,
            lambda done: self._taken.remember(settlements, done),
        )
        if any(one.verdict is not Verdict.ACK for one in settlements):
            bells.ring(self._place)
        return done

    def renew(self) -> None:
        """Nothing to do: there are no leases."""
        self._leased()

    def reap(self) -> int:
        """Nothing to do: there are no leases."""
        self._open()
        return 0

    def release(self, process: str, charge: bool = True) -> int:
        self._open()
        if process != self._process:
            return 0
        returned: int = self._call(self._taken.give_back, self._timeout)
        bells.ring(self._place)
        return returned

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Sequence[str]) -> None:
        def declare() -> None:
            for queue in queues:
                self._channel.declare(queue)

        self._call(declare, self._timeout)

    def expect(self, queues: Sequence[str]) -> None:
        self._census.expected.update(queues)

    def depth(self) -> dict[str, Depth]:
        def depth() -> dict[str, Depth]:
            return self._census.depth(self._taken.by_queue())

        depths: dict[str, Depth] = self._call(depth, self._timeout)
        return depths

    def purge(self, queue: str) -> int:
        dropped: int = self._call(lambda: self._census.purge(queue), self._timeout)
        return dropped

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        letters: list[DeadLetter] = self._call(
            lambda: self._graveyard.letters(self._census.graves(queue)), self._timeout
        )
        return letters[:limit]

    def replay(self, key: str) -> bool:
        replayed: bool = self._call(lambda: self._graveyard.replay(self._census.graves(), key), self._timeout)
        bells.ring(self._place)
        return replayed

    def bury(self, queue: str | None = None) -> int:
        buried: int = self._call(lambda: self._census.bury(queue), self._timeout)
        return buried

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        if self._closed:
            return
        self.wake()

        def end() -> None:
            if self._taken or self._parking.held():
                self._taken.give_back()
            self._channel.close()

        with contextlib.suppress(GreenqError):
            self._call(end, self._timeout)
        self._closed = True
        self._owner.close(1.0)

    def _open(self) -> None:
        if self._closed:
            raise BrokerError("this broker is closed: make another one")

    def _leased(self) -> None:
        self._open()
        if self._process is None:
            raise BrokerError("this process has no lease: call lease() before fetch() and renew()")

    def _forget(self) -> None:
        """Begin anew in a forked child: what is taken and held belongs to the parent."""
        self._lock = native.Lock()
        self._signals = set()
        self._taken.forget()
        self._parking.forget()
        self._channel.forget()
