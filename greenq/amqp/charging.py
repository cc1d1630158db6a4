"""Count a death against messages before they run, where the server keeps no count of ours.

A message can't be changed in its queue. So a copy with the raised count in a header goes to a queue beside,
the trial queue, is taken from there at once and held in the original's place, which is acknowledged. When its
process dies the server puts the copy back into the trial queue; whoever looks there next, or the server
itself a minute later, sends it to the end of the queue that it came from.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from struct import unpack_from
from typing import Any

from greenq.amqp import methods
from greenq.amqp.channel import Channel
from greenq.amqp.envelope import ATTEMPTS, TRIAL, Unreadable, attempts_of, pack_header, read_header, unpack
from greenq.amqp.failures import Failure, Refused
from greenq.amqp.held import Held, Ledger
from greenq.amqp.line import Line, Session
from greenq.amqp.publishing import Parcel, Publisher
from greenq.amqp.resending import again
from greenq.amqp.topology import Topology, count_of, trial_name
from greenq.errors import BrokerError, GreenqError, PublishError
from greenq.message import Delivery, Message

__all__ = ["Charger"]

log = logging.getLogger("greenq.amqp")


class Charger:
    """Charges deliveries, and returns what charged processes left behind.

    Parameters:
        line: whose connection the deliveries came by.
    """

    def __init__(self, line: Line, ledger: Ledger, publisher: Publisher, topology: Topology) -> None:
        self._line = line
        self._ledger = ledger
        self._publisher = publisher
        self._topology = topology
        self._used: set[str] = set()
        """Queues whose trial queue is known to be there."""

    # ── charging ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], more: int, deadline: float) -> list[bool]:
        """See `Broker.charge`; `more` is by how much the count is raised.

        Raises:
            BrokerError: a copy could not be sent.
            Failure: the connection was lost.
        """
        with self._ledger.lent([one.token for one in deliveries]) as helds:
            session = self._line.session(deadline)
            gone: set[int] = set()
            by_queue: dict[str, list[tuple[Held, Message, int]]] = {}
            for held, one in zip(helds, deliveries, strict=True):
                if held is None:
                    continue
                if not self._ledger.still_held(held, False):
                    # Nobody will run it: when it returns it is no more than any other.
                    gone.add(id(held))
                elif one.message is not None:
                    entry = held, one.message, one.attempts + more
                    by_queue.setdefault(one.queue, []).append(entry)
            for queue, entries in by_queue.items():
                gone |= self._charge(session, queue, entries, deadline)
            helds[:] = [None if id(held) in gone else held for held in helds]
            return [held is not None for held in helds]

    def _charge(
        self, session: Session, queue: str, entries: Sequence[tuple[Held, Message, int]], deadline: float
    ) -> set[int]:
        """Hold copies in the place of the originals; those whose copy somebody else has now."""
        originals: dict[str, Held] = {}
        parcels: list[Parcel] = []
        trial = trial_name(queue)
        for held, message, attempts in entries:
            mark = uuid.uuid4().hex
            try:
                header = pack_header(again(message, queue), {ATTEMPTS: attempts, TRIAL: mark}, expiring=False)
            except PublishError:
                continue  # it can't be sent by us, so nothing can be counted against it
            parcels.append(Parcel(trial, "", trial, header, message.body))
            originals[mark] = held
        sender = self._publisher.line.session(deadline)
        try:
            self._topology.ensure_trial(sender, queue, deadline)
        except Refused as refused:
            # Better tried without being counted than never.
            log.warning("no death can be counted against messages of %a: %s", queue, refused)
            return set()
        self._used.add(queue)
        errors = self._publisher.send(sender, parcels, deadline)
        failed = [error for error in errors if error is not None]
        copies, others = self._collect(session, trial, originals.keys(), deadline)
        sent = {mark for mark, error in zip(originals, errors, strict=True) if error is None}
        gone = {mark: originals[mark] for mark in sent - copies.keys()}
        self._replace(session, [(originals[m], tag) for m, tag in copies.items()], gone.values(), others)
        if failed:
            raise BrokerError(f"a suspect could not be charged, it waits: {failed[0]}") from failed[0]
        return {id(held) for held in gone.values()}

    def _collect(
        self, session: Session, trial: str, wanted: Iterable[str], deadline: float
    ) -> tuple[dict[str, int], list[int]]:
        """Take copies from the trial queue; their tags by their marks, and those of what others put there."""
        missing = set(wanted)
        found: dict[str, int] = {}
        others: list[int] = []
        empty = False
        while missing and not empty:
            count = len(missing)
            answers = session.call(methods.get(1, trial) * count, count, deadline)
            for method, payload, header, _ in answers:
                if method != methods.GET_OK:
                    # What a sweep has just put back may still be among the answers after this one.
                    empty = True
                    continue
                (tag,) = unpack_from(">Q", payload, 4)
                mark = _mark(header)
                if mark in missing:
                    missing.remove(mark)
                    found[mark] = tag
                else:
                    others.append(tag)
        return found, others

    def _replace(
        self,
        session: Session,
        moves: Sequence[tuple[Held, int]],
        gone: Iterable[Held],
        others: Sequence[int],
    ) -> None:
        """Let copies be held where originals were, acknowledge those, and give back what is not ours."""
        ledger = self._ledger
        with ledger.lock:
            if any(held.session != session.number for held in [*(held for held, _ in moves), *gone]):
                raise Failure("the connection was lost")
            ended = [held.tag for held in gone]
            for held, tag in moves:
                ended.append(held.tag)
                ledger.move(held, tag)
            ledger.forget([*ended, *others])
            # Sent under the lock: an acknowledgement of all up to a tag must not meet these.
            frames = [methods.nack(1, tag) for tag in others] + [methods.ack(1, tag) for tag in ended]
            session.connection.send(session.channel, b"".join(frames))

    # ── what dead processes left ─────────────────────────────────────────────────────────────────────────

    def expect(self, queues: Iterable[str], deadline: float) -> None:
        """A process died that may have charged messages of these queues: `sweep` looks there from now on."""
        session = self._line.session(deadline)
        for queue in queues:
            # Made rather than asked for: each question about a queue that is not there is an error in the
            # server's log, and after a death there will be suspects.
            with suppress(Refused):
                self._topology.ensure_trial(session, queue, deadline)
                self._used.add(queue)

    def sweep(self, deadline: float) -> int:
        """Send what died in its trial back to its queue; how many messages it was."""
        queues = sorted(self._used)
        if not queues:
            return 0
        session = self._line.session(deadline)
        looks = [methods.declare_queue(1, trial_name(queue), passive=True) for queue in queues]
        returned = 0
        for queue, found in zip(queues, session.aside(looks, deadline), strict=True):
            if not isinstance(found, Refused) and (count := count_of(found[1])):
                returned += self._sweep(session, queue, count, deadline)
        return returned

    def _sweep(self, session: Session, queue: str, count: int, deadline: float) -> int:
        channel, opening = session.connection.channel()
        number = channel.number
        try:
            asked = opening + methods.get(number, trial_name(queue)) * count
            answers = session.connection.call(channel, asked, count + 1, deadline)[1:]
            sent = self._send_back(queue, answers, deadline)
            data = b"".join(methods.ack(number, tag) for tag in sent)
            # What is not redelivered is being charged just now.
            data += methods.nack_all(number) if len(sent) < len(answers) else b""
            self._done(session, channel, data, deadline)
        finally:
            session.connection.drop(channel)
        return len(sent)

    def _send_back(self, queue: str, answers: Sequence[Any], deadline: float) -> list[int]:
        tags: list[int] = []
        messages: list[Message] = []
        extras: list[dict[str, Any]] = []
        for method, payload, header, body in answers:
            if method != methods.GET_OK:
                continue
            tag, redelivered = unpack_from(">QB", payload, 4)
            try:
                message, _, notes = unpack(queue, header, body)
            except Unreadable:
                continue
            if redelivered:
                tags.append(tag)
                messages.append(again(message, queue))
                extras.append({ATTEMPTS: attempts_of(notes)})
        errors: list[GreenqError | None] = (
            self._publisher.publish(messages, deadline, extras) if messages else []
        )
        return [tag for tag, error in zip(tags, errors, strict=True) if error is None]

    def _done(self, session: Session, channel: Channel, data: bytes, deadline: float) -> None:
        session.connection.call(channel, data + methods.qos(channel.number, 1), 1, deadline)


def _mark(header: bytes) -> str | None:
    """The mark of a copy; None if there is none."""
    try:
        mark = read_header(header)[1].get(TRIAL)
    except Unreadable:
        return None
    return mark if isinstance(mark, str) else None
