"""Every way a task can end: what is recorded, and how its message is settled. One method each.

`docs/guarantees.md` has the same list as a table; a test holds the two together.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any

from greenq.canvas.replacing import Replaced
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
from greenq.failures import describe, plain, rebuild, text_of, trace_of
from greenq.message import (
    FAILURE,
    RECEIVED,
    REJECTED,
    RETRY,
    REVOKED,
    STARTED,
    SUCCESS,
    Delivery,
    Outcome,
    Result,
    Settlement,
    Verdict,
)
from greenq.protocol import EMBED, is_storable
from greenq.request import AGAIN, Request
from greenq.worker.followups import FollowUps
from greenq.worker.handlers import Handler
from greenq.worker.records import Records, now, reply_to_of

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
        records: makes what is stored.
        followups: works out what follows in workflows.
    """

    def __init__(self, records: Records, followups: FollowUps) -> None:
        self.records = records
        self._followups = followups
        self._stores = followups.stores

    # ── the function was run ─────────────────────────────────────────────────────────────────────────────

    def succeeded(self, delivery: Delivery, handler: Handler, request: Request, value: Any) -> Outcome:
        """It returned: SUCCESS with its value; acknowledged. What follows it in a workflow is sent."""
        if request.embed is not EMBED:
            return self._succeeded_in_workflow(delivery, handler, request, value)
        ignored = request.fields.get("ignore_result")
        if ignored or (not handler.store_result and (ignored is None or not self._stores)):
            # The most frequent end of all: without the call of `_ack`.
            return Outcome(
                delivery, settlement=Settlement(delivery, Verdict.ACK) if handler.acks_late else None
            )
        result = self.records.result(request, SUCCESS, value)
        try:
            self.records.encode(result)
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
        result = self.records.exception(handler, request, FAILURE, error, trace)
        outcome = Outcome(delivery, (), result, settlement, FAILURE)
        return self._with_failed_workflow(outcome, handler.store_errors, request, error, trace)

    def retried(self, delivery: Delivery, handler: Handler, request: Request, signal: Retry) -> Outcome:
        """It asked to run again: RETRY with the reason; its next message is sent, this one acknowledged."""
        error = signal.exc or signal
        log.info("%s will be retried: %s", _name(request), text_of(signal))
        return Outcome(
            delivery, (signal.publish,) if signal.publish is not None and not signal.sent else (),
            self.records.exception(handler, request, RETRY, error, _trace(error)),
            self._ack(delivery, handler), RETRY,
        )  # fmt: skip

    def ignored(self, delivery: Delivery, handler: Handler, request: Request) -> Outcome:
        """It raised Ignore: nothing is recorded; acknowledged."""
        log.info("%s is ignored, as it asked", _name(request))
        return Outcome(delivery, settlement=self._ack(delivery, handler), state=IGNORED)

    def replaced(self, delivery: Delivery, handler: Handler, request: Request, signal: Replaced) -> Outcome:
        """It put another in its place: nothing is recorded; what stands in is sent, this one acknowledged."""
        log.info("%s is replaced, as it asked", _name(request))
        outcome = Outcome(delivery, settlement=self._ack(delivery, handler), state=IGNORED)
        if signal.composition is not None:
            outcome.publishes = tuple(signal.composition.messages)
            outcome.openings = tuple(signal.composition.openings)
        return outcome

    def rejected(self, delivery: Delivery, handler: Handler, request: Request, signal: Reject) -> Outcome:
        """It raised Reject: nothing is recorded; requeued if it says so, else dead-lettered.

        Celery's own `Reject`, of an adopted task, is stored as a failure where it is not requeued.
        """
        log.info("%s is rejected, as it asked: %s", _name(request), text_of(signal))
        settlement = None
        message = delivery.message
        if handler.acks_late and signal.requeue and message is not None and not message.headers.get(AGAIN):
            # Not as it is: the task must be able to see that it comes again, or it would reject it for ever.
            marked = replace(message, headers={**message.headers, AGAIN: True})
            return Outcome(delivery, (marked,), None, self._ack(delivery, handler), REJECTED)
        if handler.acks_late:
            verdict = Verdict.REQUEUE if signal.requeue else Verdict.DEAD
            reason = f"rejected by the task: {plain(str(signal.reason))[:LONGEST]}"
            settlement = Settlement(delivery, verdict, reason=reason)
        outcome = Outcome(delivery, settlement=settlement, state=REJECTED)
        failure = signal.failure
        if failure is None:
            return outcome
        outcome.result = self.records.exception(handler, request, FAILURE, failure, None)
        return self._with_failed_workflow(outcome, handler.store_errors, request, failure, None)

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
        outcome = Outcome(
            delivery, (), self.records.exception(handler, request, REVOKED, error, None),
            self._ack(delivery, handler), REVOKED,
        )  # fmt: skip
        outcome.shown = ("expired", None)
        if request.embed is not EMBED:
            outcome.parts = self.records.parts(self._followups.of_revocation(request, REVOKED, error))
        return outcome

    def revoked(
        self, delivery: Delivery, handler: Handler, request: Request, signum: int | None = None
    ) -> Outcome:
        """It was revoked before it ran, or ended for that (`terminate`): REVOKED; acknowledged."""
        log.info("%s %s: it was revoked", _name(request), "is not run" if signum is None else "was ended")
        error = TaskRevoked("revoked" if signum is None else "terminated")
        # One that did not begin was not acknowledged before its beginning either.
        settlement = Settlement(delivery, Verdict.ACK) if signum is None else self._ack(delivery, handler)
        result = self.records.exception(handler, request, REVOKED, error, None)
        outcome = Outcome(delivery, (), result, settlement, REVOKED, signum=signum)
        if request.embed is not EMBED:
            outcome.parts = self.records.parts(self._followups.of_revocation(request, REVOKED, error))
        return outcome

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
        outcome = Outcome(
            delivery, (), self.records.exception(handler, request, FAILURE, error, None), settlement, FAILURE
        )
        return self._with_failed_workflow(outcome, handler.store_errors, request, error, None, outside=True)

    def lost(self, delivery: Delivery, handler: Handler, request: Request, error: BaseException) -> Outcome:
        """The process that ran it died: FAILURE with WorkerLost; acknowledged."""
        lost = WorkerLost(str(error) or None)
        log.error("%s failed: %s", _name(request), lost)
        outcome = Outcome(
            delivery, (), self.records.exception(handler, request, FAILURE, lost, None),
            self._ack(delivery, handler), FAILURE,
        )  # fmt: skip
        return self._with_failed_workflow(outcome, handler.store_errors, request, lost, None, outside=True)

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
        result = self.records.result(request, STARTED, {"pid": os.getpid(), "hostname": node})
        result.date_done = None
        self.records.encode(result)
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
        if isinstance(id, str) and id and is_storable(id) and self.records.store() is not None:
            # Whoever waits for it must not wait for ever; a replay forgets this record first.
            failure = Result(id, FAILURE, describe(error), date_done=now(), expires=self.records.expires)
            failure.reply_to = reply_to_of(delivery.message)
            result = self.records.if_encodable(failure)
        settlement = Settlement(delivery, Verdict.DEAD, reason=plain(reason))
        outcome = Outcome(delivery, (), result, settlement, REJECTED, shown=(text_of(error, repr), None))
        request = self._followups.request_of(delivery)
        if request is None:
            return outcome
        return self._with_failed_workflow(outcome, result is not None, request, error, None, outside=True)

    def follow_recorded(self, outcome: Outcome, result: Result) -> None:
        """Add what follows an end that was recorded by somebody who did not have the task's message.

        That is done for tasks past their hard limit only (`greenq.worker.undertaker.entomb`).
        """
        value = result.value
        if result.state != FAILURE or not isinstance(value, dict):
            return
        request = self._followups.request_of(outcome.delivery)
        if request is not None and value.get("exc_type") == TimeLimitExceeded.__name__:
            self._with_failed_workflow(outcome, True, request, rebuild(value), None, outside=True)

    # ── workflows ────────────────────────────────────────────────────────────────────────────────────────

    def _succeeded_in_workflow(
        self, delivery: Delivery, handler: Handler, request: Request, value: Any
    ) -> Outcome:
        try:
            following = self._followups.of_success(request, value, SUCCESS)
            parts = self.records.parts(following)
            result = None
            ignored = request.fields.get("ignore_result")
            if self._stores and not (not handler.store_result if ignored is None else ignored):
                result = self.records.result(request, SUCCESS, value)
                self.records.encode(result)
        except GreenqError as error:
            return self.failed(delivery, handler, request, error)
        return Outcome(
            delivery, tuple(following.publishes), result, self._ack(delivery, handler),
            openings=tuple(following.openings), parts=parts,
        )  # fmt: skip

    def _with_failed_workflow(
        self,
        outcome: Outcome,
        stores: bool,
        request: Request,
        error: BaseException,
        trace: str | None,
        outside: bool = False,
    ) -> Outcome:
        """The same outcome, with what follows a failure: errbacks, and the ends of what will never run."""
        if request.embed is EMBED:
            return outcome
        try:
            following = self._followups.of_failure(request, error, trace, outside, outcome.result)
            outcome.publishes += tuple(following.publishes)
            outcome.openings = tuple(following.openings)
            outcome.parts = self.records.parts(following)
            if stores:
                outcome.further = self.records.failures(following, error, trace)
        except Exception:
            log.exception("what follows the failure of %s could not be made out", _name(request))
        return outcome


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
