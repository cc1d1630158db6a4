"""The ResultStore contract: keep what tasks returned until it is asked for or expires.

`greenq.testing.stores` checks everything that is written here against any implementation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from greenq.brokers.base import Broker
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.closing import Closing
from greenq.errors import DecodeError, EncodeError, GreenqError, ResultStoreError
from greenq.message import Outcome, Result

__all__ = ["ResultStore"]

GROUP = "celery-taskset-meta-"
"""What Celery calls the record of a group, before the group's id."""
_NEEDED = ("task_id", "status")


class ResultStore(Closing):
    """Keeps results by task id.

    Every call has a deadline and may be made from any thread or green thread; a call waits as its caller's
    world waits and never stops a hub. Errors are translated to `ResultStoreError`.

    Parameters:
        encode, decode: turn Celery's result record (a dict with ``task_id``, ``status``, ``result``,
            ``traceback``, ``children``, ``date_done``) into bytes and back; made by the application from
            its settings (`results.serializer`, `results.compression`). They carry any other value too, for
            stores that keep the parts of a record apart.

    Attributes:
        claim: seconds that whoever completed a chord has for sending its body; then another one may.
    """

    claim: float = 30.0
    forwards_parts: ClassVar[bool] = False
    """Although it refuses chords, it is told of the members of those that others have made, by `count`."""

    @property
    def reply_to(self) -> str | None:
        """Where the results of this process's calls are to be sent; None for a store that all can reach."""
        return None

    def __init__(self, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
        self._encode = encode
        self._decode = decode

    def encode(self, result: Result) -> None:
        """Fill `payload` from the other fields and drop `value`; done where the task ran.

        Raises:
            EncodeError: the serializer can't carry the value, or no store the id.
        """
        try:
            str.encode(result.id)
        except (TypeError, UnicodeEncodeError) as error:
            raise EncodeError(f"the task's id {result.id!a} is not valid Unicode: choose another") from error
        result.payload = self._encode(
            {
                "task_id": result.id,
                "status": result.state,
                "result": result.value,
                "traceback": result.traceback,
                "children": result.children,
                "date_done": result.date_done,
                **result.extra,
            }
        )
        result.value = None

    def decode(self, payload: bytes) -> Result:
        """Read back what `encode` made, by greenq or by Celery.

        Raises:
            DecodeError: it cannot be read.
        """
        record = self._decode(payload)
        if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in _NEEDED):
            raise DecodeError("the stored result is not a record with a task_id and a status")
        return Result(
            id=record.pop("task_id"),
            state=record.pop("status"),
            value=record.pop("result", None),
            traceback=record.pop("traceback", None),
            children=record.pop("children", None) or [],
            date_done=record.pop("date_done", None),
            payload=payload,
            extra=record,
        )

    @abstractmethod
    def put(self, results: Sequence[Result], timeout: float) -> None:
        """Store many encoded results in as few round trips as possible.

        A terminal state that is stored already is never overwritten. Waiters are told.
        """

    @abstractmethod
    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """The results that are there, by id; one that never was, or is forgotten or expired, is absent."""

    @abstractmethod
    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Wait until at least one of `ids` has ended, up to `timeout` seconds; those that have, by id.

        One reader serves all waiters of a process, and an idle wait costs no CPU. An id listed twice
        counts once; with no ids it returns at once.
        """

    def commit(self, broker: Broker, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        """Publish, store and settle many outcomes in one atomic step, where broker and store are one server.

        Returns:
            As `Broker.settle` does (True for an outcome without settlement; where a lease was lost, nothing
            of that outcome is kept); None if this pair cannot, and the caller takes the steps one by one.
            Whether it can never changes for a pair. Where it can, it opens the chords and counts the parts
            of an outcome in that step too.
        """
        return None

    # ── groups ───────────────────────────────────────────────────────────────────────────────────────────

    def save_group(self, id: str, tree: Any, expires: float | None, timeout: float) -> None:
        """Keep the tree of a group's results, over what was there.

        Parameters:
            tree: as ``GroupResult.as_tuple`` makes it.
            expires: seconds after which it may be forgotten; None keeps it.
        """
        record = Result(GROUP + id, "GROUP", tree, expires=expires)
        self.encode(record)
        self.put([record], timeout)

    def restore_group(self, id: str, timeout: float) -> Any:
        """The tree that `save_group`, or Celery, has kept; None if there is none."""
        found = self.get([GROUP + id], timeout).get(GROUP + id)
        return None if found is None else found.value

    def forget_group(self, id: str) -> None:
        """Drop a group's tree now; the results of its members stay."""
        self.forget([GROUP + id])

    # ── chords ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def refuses_chords(self) -> str | None:
        """Why this store can't count the members of chords, and what to do; None if it can.

        The methods below need no implementation where there is a reason.
        """
        return (
            f"a chord needs a result store that counts its members, which {type(self).__name__} does not: "
            "set results.url to redis://, sqlite:// or db+ (a database)"
        )

    def encode_part(self, part: ChordPart) -> None:
        """Fill `payload` and `record` from the other fields, and drop `value`; done where the task ran.

        Raises:
            EncodeError: the serializer can't carry the value.
        """
        part.payload = self._encode([1, part.member, part.state, part.value])
        try:
            part.record = self._encode([part.body, part.sender, part.expires])
        except Exception:
            # Whoever completes the chord has it in memory.
            part.record = b""
        part.value = None

    def decode_part(self, payload: bytes) -> tuple[str, str, Any]:
        """Read back what `encode_part` made, by greenq or by Celery: id, state and value of a member.

        Raises:
            DecodeError: it cannot be read.
        """
        return _part(self._decode(payload))

    def decode_parts(self, payloads: Sequence[bytes]) -> Iterator[tuple[str, str, Any]]:
        """The same for many: as one list where they are JSON, which takes a third of the time.

        Raises:
            DecodeError: one cannot be read; those before it were yielded.
        """
        together: Any = None
        if len(payloads) > 1 and payloads[0].startswith(b"["):
            try:
                together = [_part(part) for part in self._decode(b"[" + b",".join(payloads) + b"]")]
            except GreenqError:
                together = None  # one of them is at fault, or all are too large together
        if together is not None and len(together) == len(payloads):
            yield from together
            return
        for payload in payloads:
            yield self.decode_part(payload)

    def _recall(self, group: str, claim: str, record: bytes) -> DueChord | None:
        """A chord from the `record` that its last part left; None if that can't be read."""
        try:
            body, sender, expires = self._decode(record)
        except Exception:
            return None
        return DueChord(group, claim, dict(body), dict(sender), expires)

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        """Say how many members chords have, before any is sent; and save the shapes of nested ones."""
        raise ResultStoreError(self.refuses_chords)

    def grow_chord(self, group: str, members: Sequence[str], expires: float | None, timeout: float) -> None:
        """Let a chord wait for members more, by their ids; those that it knows to come change nothing.

        Called while one of its members runs.
        """
        raise ResultStoreError(self.refuses_chords)

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        """Count members that have ended, each once by group, id and index; one that is known changes nothing.

        Where that makes a chord complete, and nobody else is about to send its body, `ChordPart.claim` is
        set. What belongs to a chord that is closed is dropped.
        """
        raise ResultStoreError(self.refuses_chords)

    def overdue_chords(self, timeout: float) -> list[DueChord]:
        """Claim chords whose body was not sent in time by who completed them: it is gone, probably."""
        return []

    def joined(self, group: str, timeout: float) -> Iterator[Sequence[bytes]]:
        """What is kept of a chord's members, in their order, in pieces of bounded size."""
        raise ResultStoreError(self.refuses_chords)

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        """Claim it for `claim` seconds more; False if another one has it, or sent its body."""
        raise ResultStoreError(self.refuses_chords)

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        """Drop what was counted, and remember for a while that it is done; False if the claim was lost."""
        raise ResultStoreError(self.refuses_chords)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def forget(self, ids: Iterable[str]) -> None:
        """Drop these results now."""

    @abstractmethod
    def expire(self) -> int:
        """Drop results past their time, where the server does not do so itself; how many they were."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files. Idempotent."""


def _part(part: Any) -> tuple[str, str, Any]:
    if type(part) not in (list, tuple) or len(part) != 4 or type(part[2]) is not str:
        raise DecodeError("what is stored of a chord's member is not a list of version, id, state, value")
    _, id, state, value = part
    return id if type(id) is str else str(id), state, value
