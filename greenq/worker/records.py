"""The records that ends of tasks leave in the result store: made, and encoded, where the task ran."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from greenq.chords import ChordPart
from greenq.errors import EncodeError
from greenq.failures import describe, plain, text_of
from greenq.message import FAILURE, STARTED, SUCCESS, Message, Result
from greenq.request import Request
from greenq.results.base import ResultStore
from greenq.shortrepr import shortrepr
from greenq.worker.followups import Following
from greenq.worker.handlers import Handler

__all__ = ["Records", "now", "reply_to_of"]

log = logging.getLogger("greenq.task")

LONGEST = 100_000
"""Characters of a message or traceback that are kept where the whole cannot be."""


class Records:
    """Makes results, and what is counted of chords.

    Parameters:
        store: encodes results; None if none are kept.
        expires: seconds that a result is kept; None for ever.
        extended: tell with each result what was called, with what, and where it ran.
    """

    def __init__(
        self, store: Callable[[], ResultStore | None], expires: float | None, extended: bool
    ) -> None:
        self.store = store
        self.expires = expires
        self._extended = extended

    def started(self, request: Request, node: str) -> Result:
        """The record of a task that has begun, for `track_started`."""
        result = self.result(request, STARTED, {"pid": os.getpid(), "hostname": node})
        result.date_done = None
        self.encode(result)
        return result

    def result(self, request: Request, state: str, value: Any) -> Result:
        """The record of a run, not encoded yet."""
        return Result(
            id=request.id,
            state=state,
            value=value,
            children=[child.as_tuple() for child in request.children],
            date_done=now(),
            expires=self.expires,
            extra=_extra(request, self._extended),
            reply_to=reply_to_of(request.message),
        )

    def exception(
        self, handler: Handler, request: Request, state: str, error: BaseException, trace: str | None
    ) -> Result | None:
        """The record of an exception, encoded; None if it is not kept."""
        ignored = request.fields.get("ignore_result")
        if ignored is False:
            kept = self.store() is not None
        else:
            kept = handler.store_errors and not (ignored and handler.store_result)
        if not kept:
            return None
        result = self.result(request, state, describe(error))
        result.traceback = trace
        return self._failure_encoded(result, error)

    def _failure_encoded(self, result: Result, error: BaseException) -> Result | None:
        try:
            self.encode(result)
        except EncodeError:
            # The exception's own arguments can't be carried: their text can.
            result.value = {**describe(error), "exc_message": [text_of(error)[:LONGEST]]}
            result.traceback = result.traceback and result.traceback[-LONGEST:]
            return self.if_encodable(result)
        return result

    def if_encodable(self, result: Result) -> Result | None:
        """The record, encoded; None, and a line in the log, if that can't be."""
        try:
            self.encode(result)
        except Exception as error:
            log.error("the end of %a cannot be recorded: %s", result.id, text_of(error, repr))
            return None
        return result

    def encode(self, result: Result) -> None:
        """Encode a record.

        Raises:
            EncodeError: the serializer can't carry its value.
        """
        store = self.store()
        assert store is not None
        try:
            store.encode(result)
        except EncodeError:
            if "args" not in result.extra:
                raise
            # What the task was given may be more than the results' serializer carries: its text is not.
            result.extra |= {key: shortrepr(result.extra[key]) for key in ("args", "kwargs")}
            store.encode(result)

    def failures(self, following: Following, error: BaseException, trace: str | None) -> tuple[Result, ...]:
        """The ends of calls that never run, as what they should have followed has failed."""
        found = []
        for one in following.doomed:
            result = Result(one.id, FAILURE, describe(error), trace, date_done=now(), expires=self.expires)
            result.children = one.children
            options = one.signature.get("options") or {}
            result.extra = {name: options[name] for name in ("group_id", "parent_id") if options.get(name)}
            if self._extended:
                about = one.signature
                result.extra |= {
                    "name": about.get("task"), "args": about.get("args"), "kwargs": about.get("kwargs"),
                    "worker": None, "retries": None, "queue": None,
                }  # fmt: skip
            reply_to = options.get("reply_to")
            result.reply_to = reply_to if isinstance(reply_to, str) and reply_to else None
            kept = self._failure_encoded(result, error)
            if kept is not None:
                found.append(kept)
        return tuple(found)

    def parts(self, following: Following) -> tuple[ChordPart, ...]:
        """What is counted of chords, ready to be stored."""
        if not following.parts:
            return ()
        store = self.store()
        reason = "no results are kept: set results.url" if store is None else store.refuses_chords
        if store is None or (reason is not None and not store.forwards_parts):
            for group in dict.fromkeys(part.group for part in following.parts):
                log.error(
                    "a member of chord %a has ended and cannot be counted; the chord's body runs only if its "
                    "sender lets celery.chord_unlock ask for all members: %s", group, reason,
                )  # fmt: skip
            return ()
        for part in following.parts:
            value = part.value
            try:
                store.encode_part(part)
            except EncodeError:
                if part.state == SUCCESS:
                    raise
                part.value = {**value, "exc_message": [str(plain(repr(value["exc_message"])))[:LONGEST]]}
                store.encode_part(part)
        return tuple(following.parts)


def reply_to_of(message: Message | None) -> str | None:
    """The queue that the call wants its result in, if it names one."""
    reply_to = None if message is None else message.properties.get("reply_to")
    return reply_to if isinstance(reply_to, str) and reply_to else None


def _extra(request: Request, extended: bool) -> dict[str, Any]:
    """What Celery's record has beside the result, under its names."""
    extra: dict[str, Any] = {}
    fields = request.fields
    if fields.get("group"):
        extra["group_id"] = fields["group"]
    if fields.get("parent_id"):
        extra["parent_id"] = fields["parent_id"]
    if extended:
        extra |= {
            "name": request.task, "args": request.args, "kwargs": request.kwargs,
            "worker": request.hostname, "retries": request.retries,
            "queue": request.message.queue if request.message is not None else None,
        }  # fmt: skip
        if fields.get("stamped_headers"):
            extra |= {"stamped_headers": fields["stamped_headers"]} | (fields.get("stamps") or {})
    return extra


def now() -> str:
    """This moment as results carry it."""
    return datetime.now(UTC).isoformat()
