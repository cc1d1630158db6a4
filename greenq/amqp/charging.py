"""Count a death against messages before they run, where the server keeps no count of ours.

A message can't be changed in its queue. So a copy with the raised count in a header goes to a queue beside,
the trial queue, is taken from there at once and held in the original's place, which is acknowledged. When its
process dies the server puts the copy back into the trial queue, and moves what is older than a moment from
there to the end of the queue that it came from. Nobody else has to look for it.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from struct import unpack_from

from greenq.amqp import methods
from greenq.amqp.envelope import ATTEMPTS, TRIAL, Unreadable, pack_header, read_header
from greenq.amqp.failures import Failure, Refused
from greenq.amqp.held import Held, Ledger
from greenq.amqp.line import Line, Session
from greenq.amqp.publishing import Parcel, Publisher
from greenq.amqp.resending import again
from greenq.amqp.topology import TRIAL_LASTS, Topology, trial_name
from greenq.errors import BrokerError, PublishError
from greenq.message import Delivery, Message
from pools import native

__all__ = ["Charger"]

log = logging.getLogger("greenq.amqp")

GRACE = 0.5
"""Seconds that the server may take to move what has been in the trial queue for too long."""
AT_ONCE = 100
"""Copies that are sent before they are taken back: more could be moved by the server before a busy process
has come to the last of them."""
PAUSE = 0.01
"""Seconds between two looks for a copy that somebody else holds for a moment."""


class Charger:
    """Charges deliveries.

    Parameters:
        line: whose connection the deliveries came by.
    """

    def __init__(self, line: Line, ledger: Ledger, publisher: Publisher, topology: Topology) -> None:
        self._line = line
        self._ledger = ledger
        self._publisher = publisher
        self._topology = topology

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
            try:
                for queue, entries in by_queue.items():
                    for at in range(0, len(entries), AT_ONCE):
                        gone |= self._charge(session, queue, entries[at : at + AT_ONCE], deadline)
            finally:
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
        errors = self._publisher.send(sender, parcels, deadline)
        failed = [error for error in errors if error is not None]
        sent = {mark for mark, error in zip(originals, errors, strict=True) if error is None}
        copies = self._collect(session, trial, sent, deadline)
        gone = {mark: originals[mark] for mark in sent - copies.keys()}
        self._replace(session, [(originals[m], tag) for m, tag in copies.items()], gone.values())
        if failed:
            raise BrokerError(f"a suspect could not be charged, it waits: {failed[0]}") from failed[0]
        return {id(held) for held in gone.values()}

    def _collect(
        self, session: Session, trial: str, wanted: Iterable[str], deadline: float
    ) -> dict[str, int]:
        """Take copies from the trial queue; their tags by their marks.

        Others charge there at the same time, and for a moment somebody may hold what is not his: those are
        given back at once, and ours waited for until the server must have moved them.
        """
        missing = set(wanted)
        found: dict[str, int] = {}
        until = min(deadline, time.monotonic() + TRIAL_LASTS + GRACE)
        strangers: list[int] = []
        while missing:
            # What was given back comes first again, and ours may lie behind it.
            count = len(missing) + len(strangers)
            strangers = []
            came = False
            for method, payload, header, _ in session.call(methods.get(1, trial) * count, count, deadline):
                if method != methods.GET_OK:
                    continue
                (tag,) = unpack_from(">Q", payload, 4)
                mark = _mark(header)
                if mark in missing:
                    missing.remove(mark)
                    found[mark] = tag
                    came = True
                else:
                    strangers.append(tag)
            if strangers:
                self._give_back(session, strangers)
            if missing and not came:
                if time.monotonic() >= until:
                    break
                native.Signal().wait(PAUSE * random.uniform(0.5, 1.5))
        return found

    def _give_back(self, session: Session, tags: Sequence[int]) -> None:
        frames = b"".join(methods.nack(1, tag) for tag in tags)
        with self._ledger.lock:
            self._ledger.forget(tags)
            # Sent under the lock: an acknowledgement of all up to a tag must not meet these.
            session.connection.send(session.channel, frames)

    def _replace(self, session: Session, moves: Sequence[tuple[Held, int]], gone: Iterable[Held]) -> None:
        """Let copies be held where originals were, and acknowledge those."""
        ledger = self._ledger
        with ledger.lock:
            if any(held.session != session.number for held in [*(held for held, _ in moves), *gone]):
                raise Failure("the connection was lost")
            ended = [held.tag for held in gone]
            for held, tag in moves:
                ended.append(held.tag)
                ledger.move(held, tag)
            ledger.forget(ended)
            # Sent under the lock: an acknowledgement of all up to a tag must not meet these.
            frames = [methods.ack(1, tag) for tag in ended]
            session.connection.send(session.channel, b"".join(frames))


def _mark(header: bytes) -> str | None:
    """The mark of a copy; None if there is none."""
    try:
        mark = read_header(header)[1].get(TRIAL)
    except Unreadable:
        return None
    return mark if isinstance(mark, str) else None
