"""Chords as result stores count them: how many members, which have ended, and who sends the body.

A chord runs a group of tasks (its members) and, when the last of them has ended, its body with all that they
returned. Every member is counted once, by its id, however often it is delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ChordOpening", "ChordPart", "DueChord"]


@dataclass(slots=True)
class ChordOpening:
    """A chord whose members are about to be sent.

    Parameters:
        group: the id of the group of its members.
        size: how many of them have to end.
        shape: the group's result as ``GroupResult.as_tuple`` has it, if groups are nested in it; the body
            then gets lists of that shape. None: one flat list.
        expires: seconds after which the count may be forgotten; None keeps it.
        anew: a chord of this id that has ended is begun again. False where a redelivered task sends the same
            one twice.
    """

    group: str
    size: int
    shape: Any = None
    expires: float | None = None
    anew: bool = True


@dataclass(slots=True)
class ChordPart:
    """The end of one member.

    Parameters:
        group: the id of its group.
        member: its own id.
        index: its place in the group; None if it has none, and comes last.
        state: its terminal state.
        value: what it returned, or the exception as `greenq.failures.describe` has it; None after encoding.
        body: the signature that follows the chord.
        sender: what the body inherits of the member that completes the chord: ``parent_id``, ``root_id``,
            ``priority``.
        expires: seconds after which the count may be forgotten; None keeps it.
        payload: what the store keeps of it, made by `ResultStore.encode_part`.
        record: `body` and `sender`, encoded for those who may have to send the body in another's place;
            empty if the serializer can't carry them.
        claim: set by the store when this part completes the chord: whoever counted it sends the body now, and
            shows this to `ResultStore.close_chord`.
    """

    group: str
    member: str
    index: int | None
    state: str
    value: Any
    body: dict[str, Any]
    sender: dict[str, Any] = field(default_factory=dict)
    expires: float | None = None
    payload: bytes = b""
    record: bytes = b""
    claim: str | None = None

    @property
    def due(self) -> DueChord | None:
        """The chord, if this part has completed it."""
        if self.claim is None:
            return None
        return DueChord(self.group, self.claim, self.body, self.sender, self.expires)


@dataclass(slots=True)
class DueChord:
    """A chord that is complete, claimed by this process, and whose body is to be sent.

    Parameters:
        claim: names this process's turn.
        body, sender: see `ChordPart`.
        expires: seconds that the ends of its body are kept, if it fails.
        failed: its body will never run. A store that Celery's clients read keeps what its members left.
    """

    group: str
    claim: str
    body: dict[str, Any]
    sender: dict[str, Any]
    expires: float | None = None
    failed: bool = False
