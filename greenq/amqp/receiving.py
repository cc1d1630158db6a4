"""From what came to deliveries: what we know already, what is too early, how often it was tried."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from greenq.amqp.envelope import ATTEMPTS, Unreadable, due_of, unpack
from greenq.amqp.held import Key, Ledger, key_of
from greenq.amqp.inbox import Found, Inbox
from greenq.amqp.settling import Settler
from greenq.message import Delivery, Settlement, Verdict

__all__ = ["Receiver"]


class Receiver:
    """Makes deliveries of what the inbox takes.

    Parameters:
        timeout: seconds that putting messages aside may take.
    """

    def __init__(self, inbox: Inbox, ledger: Ledger, settler: Settler, timeout: float) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._settler = settler
        self._timeout = timeout

    def fetch(self, queues: Sequence[str], n: int, deadline: float) -> list[Delivery]:
        """See `Broker.fetch`.

        Raises:
            Failure, BrokerError: see `Inbox.take`.
        """
        while True:
            found = self._inbox.take(queues, n, deadline)
            if not found:
                return []
            if len(found) >= n:
                self._give_back_surplus()
            deliveries = self._admit(found)
            if deliveries:
                return deliveries

    def _admit(self, found: Sequence[Found]) -> list[Delivery]:
        """Those that are to run now; the others are put where they belong."""
        ready: list[Delivery] = []
        aside: list[Settlement] = []
        charged: list[tuple[Delivery, int]] = []
        hold = self._ledger.hold
        now = time.time()
        for one in found:
            try:
                message, count, notes = unpack(one.queue, one.header, one.body)
            except Unreadable as problem:
                raw = len(one.header).to_bytes(4, "big") + one.header + one.body
                token = hold(one.session, one.tag, one.queue, None)
                ready.append(Delivery(None, one.queue, token, 0, str(problem), raw))
                continue
            key = key_of(message)
            state = self._ledger.known(one.session, one.tag, key) if one.redelivered else None
            if state == "runs":
                continue
            delivery = Delivery(message, one.queue, hold(one.session, one.tag, one.queue, key))
            if state == "ended":
                aside.append(Settlement(delivery, Verdict.ACK))
                continue
            if one.redelivered or notes:
                delivery.attempts, moved = self._attempts(one, count, notes, key)
                if moved:
                    charged.append((delivery, delivery.attempts))
                    continue
            due = due_of(message) if message.headers.get("eta") is not None else None
            if due is not None and due > now:
                aside.append(Settlement(delivery, Verdict.RETRY_AT, due))
            else:
                ready.append(delivery)
        self._put_away(aside, charged)
        return ready

    def _attempts(
        self, one: Found, count: int | None, notes: dict[str, Any], key: Key | None
    ) -> tuple[int, bool]:
        """How often it was tried before, and whether that is to be written down first.

        A quorum queue counts; a classic one only says that there was at least one delivery more, so the
        count travels in a header: the message goes to the end of its queue with the count raised.
        """
        noted = notes.get(ATTEMPTS)
        before = noted if isinstance(noted, int) and noted > 0 else 0
        if not one.redelivered:
            return before, False
        own = self._ledger.given_back(key)
        if count is not None:
            return before + max(0, count - own), False
        return (before, False) if own else (before + 1, True)

    def _give_back_surplus(self) -> None:
        """Several queues pushed at once and there is no room: let others have the rest.

        Sent anew rather than refused, for a refusal would count as an attempt. A queue that pushes was empty:
        its end is its front.
        """
        moved: list[tuple[Delivery, int]] = []
        refused: list[Settlement] = []
        for one in self._inbox.overflow():
            token = self._ledger.hold(one.session, one.tag, one.queue, None)
            try:
                message, _, notes = unpack(one.queue, one.header, one.body)
            except Unreadable:
                refused.append(Settlement(Delivery(None, one.queue, token), Verdict.REQUEUE))
                continue
            delivery = Delivery(message, one.queue, token)
            if one.redelivered:
                refused.append(Settlement(delivery, Verdict.REQUEUE))
            else:
                noted = notes.get(ATTEMPTS)
                moved.append((delivery, noted if isinstance(noted, int) else 0))
        self._put_away(refused, moved)

    def _put_away(self, aside: list[Settlement], charged: list[tuple[Delivery, int]]) -> None:
        deadline = time.monotonic() + self._timeout
        if aside:
            self._settler.settle(aside, deadline)
        if charged:
            self._settler.move_back(charged, deadline)
