"""From what came to deliveries: what we know already, what is too early, how often it was tried."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from greenq.amqp.envelope import Unreadable, attempts_of, due_of, unpack
from greenq.amqp.failures import Failure
from greenq.amqp.held import Ledger
from greenq.amqp.inbox import Inbox
from greenq.amqp.pushing import Found
from greenq.amqp.settling import Settler
from greenq.errors import BrokerError
from greenq.message import Delivery, Settlement, Verdict
from greenq.protocol import Key, key_of

__all__ = ["Receiver"]

log = logging.getLogger("greenq.amqp")


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

    def admit(self, found: Sequence[Found], full: bool) -> list[Delivery]:
        """Those of what the inbox took that are to run now; the others are put where they belong.

        Parameters:
            full: whether there is no room for more.

        Raises:
            Failure, BrokerError: nothing could be put where it belongs, and nothing is to run.
        """
        pushes = self._inbox.pushes
        if full and not pushes.quota and any(pushes.brought.values()):
            self.leave(self._inbox.overflow(), time.monotonic() + self._timeout)
        ready: list[Delivery] = []
        ended: list[Settlement] = []
        aside: list[Settlement] = []
        hold = self._ledger.hold
        now = time.time()
        for one in found:
            try:
                message, _, notes = unpack(one.queue, one.header, one.body)
            except Unreadable as problem:
                raw = len(one.header).to_bytes(4, "big") + one.header + one.body
                token = hold(one.session, one.tag, one.queue, None)
                ready.append(Delivery(None, one.queue, token, 0, str(problem), raw))
                continue
            id, retries = message.headers.get("id"), message.headers.get("retries")
            key: Key | None
            if type(id) is str and id and type(retries) is int:
                key = message.queue, id, retries  # as `key_of` does, for nearly every message
            else:
                key = key_of(message)
            # A suspect is sent anew when it is charged or given back: the server then calls it a new message.
            again = one.redelivered or notes
            state = self._ledger.known(one.session, one.tag, key) if again else None
            if state == "runs":
                continue
            delivery = Delivery(message, one.queue, hold(one.session, one.tag, one.queue, key))
            if state == "ended":
                ended.append(Settlement(delivery, Verdict.ACK))
                continue
            if again:
                delivery.attempts = attempts_of(notes)
                if one.redelivered and not delivery.attempts and not self._ledger.given_back(key):
                    delivery.attempts = 1
            due = due_of(message) if message.headers.get("eta") is not None else None
            if due is not None and due > now:
                aside.append(Settlement(delivery, Verdict.RETRY_AT, due))
            else:
                ready.append(delivery)
        # On their own: put back with those that are too early, they would run once more.
        self._put_away(ended)
        if not aside:
            return ready
        try:
            self._put_away(aside)
        except (Failure, BrokerError) as error:
            # They can't be put where they belong: they come again, and what is to run is not lost with them.
            self._put_away([replace(one, verdict=Verdict.REQUEUE, due=None) for one in aside])
            if not ready:
                raise
            log.warning("%d messages are too early, and wait in their queue: %s", len(aside), error)
        return ready

    def leave(self, found: Sequence[Found], deadline: float) -> None:
        """Let others have what was pushed and cannot be started here.

        Sent anew, to the end of its queue: what the server returns would be suspect.

        Raises:
            Failure: the connection was lost, and with it what was pushed.
        """
        settlements: list[Settlement] = []
        for one in found:
            delivery, state = Delivery(None, one.queue, None), None
            with suppress(Unreadable):
                delivery.message, _, notes = unpack(one.queue, one.header, one.body)
                delivery.attempts = max(attempts_of(notes), int(one.redelivered))
                if delivery.attempts:
                    state = self._ledger.known(one.session, one.tag, key_of(delivery.message))
            if state == "runs":
                continue  # here, and is settled with this delivery
            delivery.token = self._ledger.hold(one.session, one.tag, one.queue, None)
            settlements.append(Settlement(delivery, Verdict.ACK if state == "ended" else Verdict.REQUEUE))
        if settlements:
            self._settler.settle(settlements, deadline)

    def _put_away(self, aside: list[Settlement]) -> None:
        if aside:
            self._settler.settle(aside, time.monotonic() + self._timeout)
