"""The task ``celery.chord_unlock``: asks for the members of a chord until all have ended, and sends the body.

Celery's clients send it with each chord whose members their result backend cannot count: that of a database,
or of a directory. Chords that greenq makes need none: its stores count, or refuse them.

Source: celery/app/builtins.py (``unlock_chord``), celery/backends/base.py (``fallback_chord_unlock``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from greenq.app import GreenQ
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.errors import BrokerError, ChordError, MessageError, ResultStoreError
from greenq.message import READY_STATES, Result
from greenq.results.base import ResultStore
from greenq.task import Task
from greenq.worker.chordends import ChordEnds
from greenq.worker.followups import FollowUps
from greenq.worker.records import Records

__all__ = ["Asked", "unlock_task"]

NAME = "celery.chord_unlock"
INTERVAL = 1.0
"""Seconds between two looks, where the call does not say; Celery's default."""
AT_ONCE = 500
"""Results that are asked for in one go."""
DEEPEST = 100
"""Groups inside groups; more is no workflow but an attack."""


class Asked(ResultStore):
    """A chord whose members are not counted but asked for: what `ChordEnds` needs to end it.

    Parameters:
        store: where the results are.
        members: their ids, in their order.
        tree: the result of their group, as ``GroupResult.as_tuple`` has it.
    """

    def __init__(self, store: ResultStore, members: Sequence[str], tree: Any) -> None:
        super().__init__(store._encode, store._decode)
        self._store = store
        self._members = members
        self._tree = tree

    def ended(self, timeout: float) -> bool:
        """Whether every member has; none is asked for after one that has not."""
        for ids in _pieces(self._members):
            found = self._store.get(ids, timeout)
            if any(id not in found or found[id].state not in READY_STATES for id in ids):
                return False
        return True

    def restore_group(self, id: str, timeout: float) -> Any:
        """The shape that the body's argument gets."""
        return self._tree

    def joined(self, group: str, timeout: float) -> Iterator[Any]:
        """What the members have left, in pieces."""
        for ids in _pieces(self._members):
            found = self._store.get(ids, timeout)
            if len(found) < len(set(ids)):
                raise ChordError(f"the result of {next(id for id in ids if id not in found)} is gone")
            yield [found[id] for id in ids]

    def decode_parts(self, payloads: Sequence[Any]) -> Iterator[tuple[str, str, Any]]:
        """They are decoded already."""
        for result in payloads:
            yield result.id, result.state, result.value

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        """Nobody else sends this body: that is what the one message is for."""
        return True

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        """Nothing was counted that could be dropped."""
        return True

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        """Count a body that never runs for the chord around it. If that was its last member, a worker that
        looks for bodies left unsent sends that one's: here nobody could.
        """
        if parts:
            self._store.count(parts, timeout)
        for part in parts:
            part.claim = None

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        """Those inside the body."""
        self._store.open_chords(openings, timeout)

    def put(self, results: Sequence[Result], timeout: float) -> None:
        """Store results."""
        self._store.put(results, timeout)

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Ask for results."""
        return self._store.get(ids, timeout)

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Wait for results."""
        return self._store.wait(ids, timeout)

    def forget(self, ids: Iterable[str]) -> None:
        """Drop results."""
        self._store.forget(ids)

    def expire(self) -> int:
        """Drop old results."""
        return self._store.expire()

    def close(self) -> None:
        """Nothing: the store is the application's."""


def unlock_task(app: GreenQ, records: Records, followups: FollowUps) -> Task[Any, Any]:
    """The task, for a worker of this application.

    Parameters:
        records, followups: make what failing bodies leave behind.
    """

    def unlock(
        self: Any,
        group_id: str,
        callback: Any,
        interval: float | None = None,
        max_retries: int | None = None,
        result: Any = None,
        **kwargs: Any,
    ) -> None:
        store = app.results
        if store is None:
            raise ResultStoreError("a chord needs its members' results: set results.url")
        asked = Asked(store, list(_leaves(result)), [[group_id, None], result])
        ends = ChordEnds(app, app.broker, asked, records, followups)
        request = self.request
        sender = {"parent_id": request.id, "root_id": request.root_id or request.id, "priority": None}
        chord = DueChord(group_id, "", dict(callback), sender, app.settings.results.expires)
        pause = INTERVAL if interval is None else interval
        spent = max_retries is not None and request.retries >= max_retries
        try:
            if asked.ended(ends.timeout):
                ends.end(chord)
            elif spent:
                ends.give_up(chord, f"its members had not ended after {max_retries} looks")
            else:
                raise self.retry(countdown=pause)
        except (BrokerError, ResultStoreError) as error:
            # The body's id is fixed: sent once more it is one task.
            raise self.retry(exc=error, countdown=pause) from error

    options = {"typing": False, "ignore_result": True, "max_retries": None}
    return Task(app, unlock, NAME, True, options)


def _leaves(entries: Any, depth: int = 0) -> Iterator[str]:
    """The ids of a group's members, and of those of the groups in it."""
    for entry in entries or ():
        try:
            (id, _), inner = entry
        except (TypeError, ValueError):
            raise MessageError(f"{NAME} names its chord's results in no known way") from None
        if inner is None:
            yield id
        elif depth < DEEPEST:
            yield from _leaves(inner, depth + 1)


def _pieces(ids: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    return iter(lambda: list(islice(rest, AT_ONCE)), [])
