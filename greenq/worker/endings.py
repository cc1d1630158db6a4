"""Every way a task can end: what is recorded, and how its message is settled. One method each.

`docs/guarantees.md` has the same list as a table; a test holds the two together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from greenq.errors import (
    EncodeError,
    GreenqError,
    MessageError,
    Reject,
    Retry,
    Snooze,
    TaskRevoked,
    TimeLimitExceeded,
    WorkerLost,
)
from greenq.failures import describe, plain, text_of, trace_of
from greenq.message import (
    FAILURE,
    RECEIVED,
    REJECTED,
    RETRY,
    REVOKED,
    STARTED,
    SUCCESS,
    Delivery,
    Message,
    Outcome,
    Result,
    Settlement,
    Verdict,
)
from greenq.protocol import is_storable
from greenq.request import Request
from greenq.results.base import ResultStore
from greenq.shortrepr import shortrepr
from greenq.worker.handlers import Handler

__all__ = ["IGNORED", "SNOOZED", "Endings"]

log = logging.getLogger("greenq.task")

IGNORED = "IGNORED"
"""The state of an outcome that leaves no trace; never stored."""
SNOOZED = "SNOOZED"
"""The state of an outcome that only puts the task off; never stored."""
LONGEST_REASON = 1_000
"""Characters of a reason why a message cannot be read."""
LONGEST = 100_000
"""Characters of a message or traceback that are kept where the whole cannot be."""


class Endings:
    """Builds the outcome of one run; nothing is sent from here.

    Parameters:
        store: encodes results; None if none are kept.
        expires: seconds that a result is kept; None for ever.
        extended: tell with each result what was called, with what, and where it ran.
    """

    def __init__(
        self, store: Callable[[], ResultStore | None], expires: float | None, extended: bool = False
    ) -> None:
        self._store = store
        self._expires = expires
        self._extended = extended

    # ── the function was run ─────────────────────────────────────────────────────────────────────────────

    def succeeded(self, delivery: Delivery, handler: Handler, request: Request, value: Any) -> Outcome:
        """It returned: SUCCESS with its value; acknowledged."""
        if not handler.store_result or request.fields.get("ignore_result"):
            # The most frequent end of all: without the call of `_ack`.
            return Outcome(
                delivery, settlement=Settlement(delivery, Verdict.ACK) if handler.acks_late else None
            )
        result = self._result(request, SUCCESS, value)
        try:
            self._encode(result)
        except EncodeError as error:
            return self.failed(delivery, handler, request, error)
        return Outcome(delivery, (), result, self._ack(delivery, handler))

    def failed(self, delivery: Delivery, handler: Handler, request: Request, error: BaseException) -> Outcome:
        """It raised: FAILURE with the exception and its traceback; acknowledged (`acks_on_failure`)."""
        trace = _trace(error)
        if isinstance(error, handler.throws):
            log.info("%s failed as it may: %s", _name(request), text_of(error, repr))
        else:
            log.error("%s failed: %s\n%s", _name(request), text_of(error, repr), trace.rstrip())
        settlement = self._settle_failure(delivery, handler, handler.acks_on_failure, error)
        return Outcome(
            delivery, (), self._exception(handler, request, FAILURE, error, trace), settlement, FAILURE
        )

    def retried(self, delivery: Delivery, handler: Handler, request: Request, signal: Retry) -> Outcome:
        """It asked to run again: RETRY with the reason; its next message is sent, this one acknowledged."""
        error = signal.exc or signal
        log.info("%s will be retried: %s", _name(request), text_of(signal))
        return Outcome(
            delivery, (signal.publish,) if signal.publish is not None else (),
            self._exception(handler, request, RETRY, error, _trace(error)),
            self._ack(delivery, handler), RETRY,
        )  # fmt: skip

    def ignored(self, delivery: Delivery, handler: Handler, request: Request) -> Outcome:
        """It raised Ignore: nothing is recorded; acknowledged."""
        log.info("%s is ignored, as it asked", _name(request))
        return Outcome(delivery, settlement=self._ack(delivery, handler), state=IGNORED)

    def rejected(self, delivery: Delivery, handler: Handler, request: Request, signal: Reject) -> Outcome:
        """It raised Reject: nothing is recorded; requeued if it says so, else dead-lettered."""
        log.info("%s is rejected, as it asked: %s", _name(request), text_of(signal))
        settlement = None
        if handler.acks_late:
            verdict = Verdict.REQUEUE if signal.requeue else Verdict.DEAD
            reason = f"rejected by the task: {plain(str(signal.reason))[:LONGEST]}"
            settlement = Settlement(delivery, verdict, reason=reason)
        return Outcome(delivery, settlement=settlement, state=REJECTED)

    def snoozed(self, delivery: Delivery, handler: Handler, request: Request, signal: Snooze) -> Outcome:
        """It raised Snooze: nothing is recorded; put back until then, or sent anew if it was acknowledged."""
        log.info("%s %s", _name(request), text_of(signal))
        if handler.acks_late:
            settlement = Settlement(delivery, Verdict.RETRY_AT, due=signal.due)
            return Outcome(delivery, settlement=settlement, state=SNOOZED)
        assert delivery.message is not None
        return Outcome(delivery, (replace(delivery.message, due=signal.due),), state=SNOOZED)

    # ── it was not run ───────────────────────────────────────────────────────────────────────────────────

    def expired(self, delivery: Delivery, handler: Handler, request: Request) -> Outcome:
        """It came too late: REVOKED, as Celery has it; acknowledged."""
        log.info("%s is not run: it expired", _name(request))
        error = TaskRevoked("expired")
        return Outcome(
            delivery, (), self._exception(handler, request, REVOKED, error, None),
            self._ack(delivery, handler), REVOKED,
        )  # fmt: skip

    def postponed(self, delivery: Delivery, due: float) -> Outcome:
        """It came before its ETA: nothing is recorded; put back until then (seconds since the epoch)."""
        return Outcome(delivery, settlement=Settlement(delivery, Verdict.RETRY_AT, due=due), state=RECEIVED)

    def unreadable(self, delivery: Delivery, error: MessageError) -> Outcome:
        """It cannot be understood, or names no task: FAILURE if it has an id; dead-lettered."""
        reason = str(error)
        if len(reason) > LONGEST_REASON:
            # Some errors quote what they met, and that may be the whole message.
            reason = reason[:LONGEST_REASON] + "..."
            error = type(error)(reason)
        return self._given_up(delivery, error, reason)

    def exhausted(self, delivery: Delivery) -> Outcome:
        """Too many deaths are charged to it: FAILURE if it has an id; dead-lettered."""
        reason = f"the worker process that ran it died, {delivery.attempts} times"
        return self._given_up(delivery, WorkerLost(reason), reason)

    def unaccountable(self, delivery: Delivery, error: BaseException) -> Outcome:
        """Its end could not be made out: FAILURE if it has an id; dead-lettered with what came in between."""
        reason = f"its end could not be made out: {text_of(error, repr):.500}"
        return self._given_up(delivery, GreenqError(reason), reason)

    # ── it was ended from outside ────────────────────────────────────────────────────────────────────────

    def over_limit(self, delivery: Delivery, handler: Handler, request: Request, limit: float) -> Outcome:
        """It ran past its hard limit: FAILURE with TimeLimitExceeded; acknowledged (`acks_on_timeout`)."""
        error = TimeLimitExceeded(limit)
        log.error("%s was ended at its hard time limit of %g s", _name(request), limit)
        settlement = self._settle_failure(delivery, handler, handler.acks_on_timeout, error)
        return Outcome(
            delivery, (), self._exception(handler, request, FAILURE, error, None), settlement, FAILURE
        )

    def lost(self, delivery: Delivery, handler: Handler, request: Request, error: BaseException) -> Outcome:
        """The process that ran it died: FAILURE with WorkerLost; acknowledged."""
        lost = WorkerLost(str(error) or None)
        log.error("%s failed: %s", _name(request), lost)
        return Outcome(
            delivery, (), self._exception(handler, request, FAILURE, lost, None),
            self._ack(delivery, handler), FAILURE,
        )  # fmt: skip

    def returned(self, delivery: Delivery, handler: Handler, request: Request) -> Outcome:
        """The worker stops and could not wait: requeued; FAILURE if it was acknowledged before it began."""
        if not handler.acks_late:
            return self.lost(
                delivery, handler, request, WorkerLost("the worker stopped before the task's end")
            )
        log.warning("%s is given back to its queue: the worker stops", _name(request))
        return Outcome(delivery, settlement=Settlement(delivery, Verdict.REQUEUE), state=REJECTED)

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────

    def started(self, request: Request, node: str) -> Result:
        """The record of a task that has begun, for `track_started`."""
        result = self._result(request, STARTED, {"pid": os.getpid(), "hostname": node})
        result.date_done = None
        self._encode(result)
        return result

    def _ack(self, delivery: Delivery, handler: Handler) -> Settlement | None:
        return Settlement(delivery, Verdict.ACK) if handler.acks_late else None

    def _settle_failure(
        self, delivery: Delivery, handler: Handler, acknowledge: bool, error: BaseException
    ) -> Settlement | None:
        if acknowledge or not handler.acks_late:
            return self._ack(delivery, handler)
        return Settlement(
            delivery, Verdict.DEAD, reason=f"failed: {text_of(error, repr):.500}", trace=_trace(error)
        )

    def _given_up(self, delivery: Delivery, error: BaseException, reason: str) -> Outcome:
        headers = delivery.message.headers if delivery.message is not None else None
        id = headers.get("id") if isinstance(headers, dict) else None
        log.error(
            "message %s from queue %s is dead-lettered: %s",
            plain(str(id)) if id else "without id", delivery.queue, plain(reason),
        )  # fmt: skip
        result = None
        if isinstance(id, str) and id and is_storable(id) and self._store() is not None:
            # Whoever waits for it must not wait for ever; a replay forgets this record first.
            failure = Result(id, FAILURE, describe(error), date_done=now(), expires=self._expires)
            failure.reply_to = _reply_to(delivery.message)
            result = self._if_encodable(failure)
        settlement = Settlement(delivery, Verdict.DEAD, reason=plain(reason))
        return Outcome(delivery, (), result, settlement, REJECTED)

    def _result(self, request: Request, state: str, value: Any) -> Result:
        return Result(
            id=request.id,
            state=state,
            value=value,
            children=[child.as_tuple() for child in request.children],
            date_done=now(),
            expires=self._expires,
            extra=_extra(request, self._extended),
            reply_to=_reply_to(request.message),
        )

    def _exception(
        self, handler: Handler, request: Request, state: str, error: BaseException, trace: str | None
    ) -> Result | None:
        if not handler.store_errors or (request.fields.get("ignore_result") and handler.store_result):
            return None
        result = self._result(request, state, describe(error))
        result.traceback = trace
        try:
            self._encode(result)
        except EncodeError:
            # The exception's own arguments can't be carried: their text can.
            result.value = {**describe(error), "exc_message": [text_of(error)[:LONGEST]]}
            result.traceback = trace and trace[-LONGEST:]
            return self._if_encodable(result)
        return result

    def _if_encodable(self, result: Result) -> Result | None:
        try:
            self._encode(result)
        except Exception as error:
            log.error("the end of %a cannot be recorded: %s", result.id, text_of(error, repr))
            return None
        return result

    def _encode(self, result: Result) -> None:
        store = self._store()
        assert store is not None
        try:
            store.encode(result)
        except EncodeError:
            if "args" not in result.extra:
                raise
            # What the task was given may be more than the results' serializer carries: its text is not.
            result.extra |= {key: shortrepr(result.extra[key]) for key in ("args", "kwargs")}
            store.encode(result)


def _reply_to(message: Message | None) -> str | None:
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
    return extra


def now() -> str:
    """This moment as results carry it."""
    return datetime.now(UTC).isoformat()


def _trace(error: BaseException) -> str:
    """The traceback as text, from the user's function on: what called it is no news to anybody."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_ours(trace.tb_frame.f_globals):
        trace = trace.tb_next
    return trace_of(error, trace)


def _is_ours(names: dict[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] in ("greenq", "pools")


def _name(request: Request) -> str:
    # A lone surrogate in what a sender chose would make the line impossible to write.
    return plain(f"{request.task}[{request.id}]")
