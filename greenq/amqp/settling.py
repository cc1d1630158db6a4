"""End deliveries: what goes elsewhere is confirmed there first, then all is settled in one write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from greenq.amqp import methods
from greenq.amqp.envelope import ATTEMPTS
from greenq.amqp.failures import Failure, Late
from greenq.amqp.held import Held, Ledger
from greenq.amqp.line import Line
from greenq.amqp.publishing import Publisher
from greenq.amqp.resending import again, dead_letter, later
from greenq.amqp.topology import Topology
from greenq.errors import BrokerError, GreenqError
from greenq.message import Message, Settlement, Verdict

__all__ = ["Settler"]

BARRIER = methods.qos(1, 1)
"""Changes nothing; its answer says that all which was sent before is done."""


class Settler:
    """Settles over the connection that the deliveries came by."""

    def __init__(self, line: Line, ledger: Ledger, publisher: Publisher, topology: Topology) -> None:
        self._line = line
        self._ledger = ledger
        self._publisher = publisher
        self._topology = topology

    def settle(self, settlements: Sequence[Settlement], deadline: float) -> list[bool]:
        """See `Broker.settle`.

        Raises:
            BrokerError: what was to be put elsewhere could not be; nothing was settled.
            Failure: the connection was lost before anything was done.
        """
        tokens: list[Any] = []
        acks: list[bool] = []
        plain = True
        for one in settlements:
            tokens.append(one.delivery.token)
            acks.append(one.verdict is Verdict.ACK)
            if one.verdict is not Verdict.ACK:
                plain = False
                if one.verdict is Verdict.RETRY_AT and one.due is None:
                    raise BrokerError("RETRY_AT needs a time: set Settlement.due")
        while self._ledger.loans and (lent := self._ledger.lent_until(tokens)) is not None:
            if not lent.wait(max(0.0, deadline - time.monotonic())):
                raise BrokerError("a suspect that is to be settled is still being charged: RabbitMQ is slow")
        session = self._line.latest
        alive = session is not None and (session.connection.lost or session.channel.lost) is None
        done: list[bool] = []
        pairs: list[tuple[Held, Settlement]] = []
        for held, one in zip(self._ledger.claim(tokens, acks, alive), settlements, strict=True):
            done.append(held is not None)
            if held is not None:
                pairs.append((held, one))
        if not pairs:
            return done
        moved = pairs if plain else self._put_elsewhere(pairs, deadline)
        if not self._end(moved, deadline):
            # What was sent anew has not come to an end, whatever becomes of its original.
            for held, one in pairs:
                self._ledger.lose(held, one.verdict is not Verdict.REQUEUE)
            return [False] * len(settlements)
        return done

    # ── putting elsewhere ────────────────────────────────────────────────────────────────────────────────

    def _put_elsewhere(
        self, pairs: list[tuple[Held, Settlement]], deadline: float
    ) -> list[tuple[Held, Settlement]]:
        """Publish what does not end with its acknowledgement; what is to be told the server then."""
        settlements = [one for _, one in pairs]
        try:
            self._move(settlements, deadline)
        except BaseException:
            self._ledger.keep(held for held, _ in pairs)
            raise
        sent = self._send_anew(settlements, deadline)
        return [
            (held, replace(one, verdict=Verdict.ACK) if anew else one)
            for (held, one), anew in zip(pairs, sent, strict=True)
        ]

    def _move(self, settlements: Sequence[Settlement], deadline: float) -> None:
        """Publish what is to wait or to be kept as dead, confirmed."""
        moves = [s for s in settlements if s.verdict in (Verdict.RETRY_AT, Verdict.DEAD)]
        if not moves:
            return
        messages: list[Message] = []
        extras: list[Mapping[str, Any]] = []
        session = self._publisher.line.session(deadline)
        for one in moves:
            message, extra = dead_letter(one) if one.verdict is Verdict.DEAD else later(one)
            if one.verdict is Verdict.DEAD:
                self._topology.ensure_dead(session, one.delivery.queue, deadline)
            messages.append(message)
            extras.append(extra)
        for error in self._publisher.publish(messages, deadline, extras):
            if error is not None:
                raise BrokerError(
                    f"a message could not be put aside, it stays where it is: {error}"
                ) from error

    def _send_anew(self, settlements: Sequence[Settlement], deadline: float) -> list[bool]:
        """Publish what is to come again, for what is refused comes back as if its process had died.

        Returns:
            For each whether it was sent; the others are refused all the same.
        """
        sent = [False] * len(settlements)
        messages: list[Message] = []
        extras: list[Mapping[str, Any]] = []
        places: list[int] = []
        for i, one in enumerate(settlements):
            delivery = one.delivery
            if one.verdict is Verdict.REQUEUE and delivery.message is not None:
                messages.append(again(delivery.message, delivery.queue))
                extras.append({ATTEMPTS: delivery.attempts} if delivery.attempts else {})
                places.append(i)
        if messages:
            now = time.monotonic()
            try:
                # Half of the time: what can't be sent now must still be refused in the rest.
                errors: Sequence[GreenqError | None] = self._publisher.publish(
                    messages, now + (deadline - now) / 2, extras
                )
            except Failure:
                return sent
            for i, error in zip(places, errors, strict=True):
                sent[i] = error is None
        return sent

    # ── telling the server ───────────────────────────────────────────────────────────────────────────────

    def _end(self, pairs: Sequence[tuple[Held, Settlement]], deadline: float) -> bool:
        """Acknowledge and give back in one write; True once the server has done it."""
        session = self._line.latest
        if session is None:
            return False
        ledger = self._ledger
        try:
            with ledger.lock:
                back: list[Held] = []
                acks: set[int] = set()
                for held, one in pairs:
                    if held.session != session.number:
                        return False  # the connection was lost
                    if one.verdict is Verdict.REQUEUE:
                        back.append(held)
                    else:
                        acks.add(held.tag)
                # Given back first and forgotten: an acknowledgement of all up to a tag must not meet them.
                frames: list[bytes] = []
                for held in back:
                    frames.append(methods.nack(1, held.tag))
                    ledger.forget((held.tag,))
                    ledger.gave_back(held.key)
                if len(acks) == 1:
                    [tag] = acks
                    ledger.tags.pop(tag, None)
                    frames.append(methods.ack_main(tag, False, 0xCE))
                else:
                    for tag, multiple in ledger.ends(acks):
                        frames.append(methods.ack_main(tag, multiple, 0xCE))
                frames.append(BARRIER)
                # Sent under the lock: an acknowledgement of all up to a tag must not overtake another's.
                # The answer to the last frame comes after all before it were done.
                reply = session.connection.send(session.channel, b"".join(frames), 1)
            assert reply is not None
            if reply.bell.wait(deadline - time.monotonic()) and reply.error is None:
                reply.spent.append(reply)  # as `Reply.wait` does, for every batch and so without a call
            else:
                reply.unheard()
        except Late as late:
            session.connection.abort(Failure(str(late), True))
            return False
        except Failure:
            return False
        return True

    def give_back(self, tags: Sequence[int], deadline: float) -> None:
        """Give back what is outstanding in the session of now."""
        session = self._line.alive
        if session is None or not tags:
            return
        frames = b"".join(methods.nack(1, tag) for tag in tags) + BARRIER
        with self._ledger.lock:
            self._ledger.forget(tags)
            # Sent under the lock: an acknowledgement of all up to a tag must not meet these.
            reply = session.connection.send(session.channel, frames, 1)
        assert reply is not None
        try:
            reply.wait(deadline)
        except Late as late:
            session.connection.abort(Failure(str(late), True))
            raise
