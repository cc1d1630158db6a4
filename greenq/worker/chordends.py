"""The end of a chord: its body is sent with what the members returned, or fails with what one of them raised.

Source: celery/backends/redis.py (``on_chord_part_return``), celery/backends/base.py
(``chord_error_from_stack``, ``_handle_group_chord_error``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from greenq.app import GreenQ
from greenq.brokers.base import Broker
from greenq.canvas.sending import compose_signature
from greenq.chords import DueChord
from greenq.errors import (
    ChordError,
    DecodeError,
    EncodeError,
    InvalidOption,
    InvalidTaskArguments,
    PublishError,
    PublishTimeout,
)
from greenq.failures import describe, rebuild, text_of
from greenq.message import FAILURE, REVOKED, Message
from greenq.protocol import EMBED, HEADERS, TaskCall
from greenq.request import Request
from greenq.results.base import ResultStore
from greenq.worker.followups import Doomed, Following, FollowUps, doomed
from greenq.worker.records import Records

__all__ = ["ChordEnds"]

log = logging.getLogger("greenq.canvas")

CALLED = "greenq_called"
"""In the failure of a body that never ran: the errbacks that were called for it."""
FAILED = frozenset({FAILURE, REVOKED})
"""States of members that let the chord fail."""
AT_FAULT = (EncodeError, InvalidOption, InvalidTaskArguments, PublishError)
"""What is raised for a body that can never be sent, however often it is tried."""
AFTER = "The above exception was the direct cause of the following exception:"
"""As Python writes it between two tracebacks."""
DEEPEST = 100
"""Groups inside groups; more is no workflow but an attack."""


class ChordEnds:
    """Ends chords that are complete.

    Parameters:
        records, followups: make what failing bodies leave behind.
    """

    def __init__(
        self, app: GreenQ, broker: Broker, store: ResultStore, records: Records, followups: FollowUps
    ) -> None:
        self._app = app
        self._broker = broker
        self._store = store
        self._records = records
        self._followups = followups
        self.timeout = app.settings.broker.timeout

    def end(self, chord: DueChord) -> None:
        """Send the body, and close the chord; nothing is done if another process has claimed it meanwhile.

        Raises:
            GreenqError: broker or store are away; it may be tried again.
        """
        try:
            values = self._joined(chord)
        except ChordError as error:
            log.error("chord %a failed: %s", chord.group, error)
            return self._fail(chord, error, self._trace(error))
        if not self._store.extend_claim(chord, self.timeout):
            log.warning("the body of chord %a is sent by another process", chord.group)
            return None
        try:
            self._publish(chord, values)
        except PublishTimeout:
            raise
        except AT_FAULT as error:
            log.error("the body of chord %a cannot be sent: %s", chord.group, error)
            return self._fail(chord, ChordError(f"Callback error: {error!r}"), None)
        self._store.close_chord(chord, self.timeout)
        return None

    def give_up(self, chord: DueChord, reason: str) -> None:
        """Let the body fail though members have not ended.

        Raises:
            GreenqError: broker or store are away; it may be tried again.
        """
        log.error("chord %a failed: %s", chord.group, reason)
        self._fail(chord, ChordError(reason), None)

    def _publish(self, chord: DueChord, values: list[Any]) -> None:
        made = compose_signature(
            self._app, chord.body, (values,), request=_sender(chord), seed=f"{chord.group}/body"
        )
        if made.openings:
            self._store.open_chords(made.openings, self.timeout)
        self._send(made.messages)

    def _send(self, messages: list[Message]) -> None:
        for problem in self._broker.publish(messages, self.timeout) if messages else ():
            if problem is not None:
                raise problem

    # ── what the members returned ────────────────────────────────────────────────────────────────────────

    def _joined(self, chord: DueChord) -> list[Any]:
        """The values of all members in their order, nested as the groups are.

        Raises:
            ChordError: one of them failed, or what is stored of it cannot be read.
        """
        tree = self._store.restore_group(chord.group, self.timeout)
        values: list[Any] = []
        by_id: dict[str, Any] = {}
        try:
            for piece in self._store.joined(chord.group, self.timeout):
                for id, state, value in self._store.decode_parts(piece):
                    if state in FAILED:
                        raise _failure(id, value)
                    values.append(value)
                    if tree is not None:
                        by_id[id] = value
        except DecodeError as error:
            raise ChordError(f"Join error: {error!r}") from error
        if tree is None:
            return values
        return [*_nested(tree, by_id), *by_id.values()]

    # ── failure ──────────────────────────────────────────────────────────────────────────────────────────

    def _trace(self, error: ChordError) -> str:
        """The traceback of the member that failed, if it is stored by now, and what came of it."""
        cause = error.__cause__
        before = "" if cause is None else f"{type(cause).__name__}: {text_of(cause)}"
        if error.member is not None:
            found = self._store.get([error.member], self.timeout).get(error.member)
            before = (found and found.traceback) or before
        return f"{before.rstrip()}\n\n{AFTER}\n\n{type(error).__name__}: {error}\n"

    def _fail(self, chord: DueChord, error: ChordError, trace: str | None) -> None:
        """Let the body fail, and all that was to follow it."""
        following = Following()
        following.doomed = doomed(chord.body)
        in_group = chord.body.get("subtask_type") == "group"
        reason = error.__cause__ if in_group and error.__cause__ is not None else error
        called = error.called | {_digest(errback) for one in following.doomed for errback in one.errbacks}
        # Celery links what a chord is given to the bodies of the chords in it, too, and calls it once.
        described = {**describe(reason), CALLED: sorted(called)} if called else describe(reason)
        for one in following.doomed:
            self._followups.count_signature(following, one.signature, described)
            errbacks = [errback for errback in one.errbacks if _digest(errback) not in error.called]
            if errbacks:
                stand_in = _stand_in(one, chord)
                self._followups.call_errbacks(following, stand_in, errbacks, reason, trace)
                one.children = stand_in.children_as_tuples()
        parts = self._records.parts(following)
        results = self._records.failures(following, reason, trace)
        if not self._store.extend_claim(chord, self.timeout):
            return
        self._send(following.publishes)
        self._store.count(parts, self.timeout)
        self._store.put(results, self.timeout)
        chord.failed = True
        self._store.close_chord(chord, self.timeout)
        for part in parts:
            due = part.due
            if due is not None:
                # A chord around this one, which is complete with that.
                self.end(due)


def _failure(id: str, value: Any) -> ChordError:
    cause = rebuild(value)
    error = ChordError(f"Dependency {id} raised {cause!r}")
    error.__cause__ = cause
    error.member = id
    called = value.get(CALLED) if isinstance(value, dict) else None
    if isinstance(called, list):
        error.called = frozenset(one for one in called if isinstance(one, str))
    return error


def _digest(errback: Any) -> str:
    """What two equal errbacks have in common."""
    return sha256(json.dumps(errback, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _sender(chord: DueChord) -> Request:
    """The member that completed the chord, as the body inherits of it."""
    sender = chord.sender
    id = str(sender.get("parent_id") or chord.group)
    fields = HEADERS | {"id": id, "task": "", "root_id": sender.get("root_id")}
    priority = sender.get("priority")
    message = None
    if isinstance(priority, int):
        message = Message("", fields, b"", "", "", priority=priority)
    return Request(TaskCall((), {}, EMBED, fields), message)


def _stand_in(one: Doomed, chord: DueChord) -> Request:
    """The request of a task that never ran, for its errbacks."""
    signature: Mapping[str, Any] = one.signature
    options = signature.get("options") or {}
    fields = HEADERS | {
        "id": one.id,
        "task": str(signature.get("task")),
        "root_id": options.get("root_id") or chord.sender.get("root_id"),
        "parent_id": options.get("parent_id"),
        "group": options.get("group_id"),
    }
    embed = EMBED | {"errbacks": one.errbacks}
    args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    return Request(TaskCall(args, kwargs, embed, fields))


def _nested(tree: Any, values: dict[str, Any], depth: int = 0) -> list[Any]:
    """The values in the shape of a group's result, taken out of `values`."""
    found: list[Any] = []
    children = tree[1] if isinstance(tree, list | tuple) and len(tree) == 2 else None
    for entry in children or ():
        try:
            (id, _), inner = entry
        except (TypeError, ValueError):
            continue
        if inner is not None and depth < DEEPEST:
            found.append(_nested(entry, values, depth + 1))
        elif id in values:
            found.append(values.pop(id))
    return found
