"""Runs whose ends are told in events: what they returned or raised is noted as text, in the process that ran.

Source: celery/worker/request.py (``on_success``, ``on_failure``, ``on_retry``, ``reject``): the fields.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from greenq.errors import MessageError
from greenq.message import FAILURE, REJECTED, RETRY, REVOKED, SUCCESS, Delivery, Outcome, Verdict
from greenq.protocol import TaskCall
from greenq.request import Request, current
from greenq.shortrepr import shortrepr
from greenq.worker.handlers import Handler

__all__ = ["ToldRequest", "ended_event", "id_of", "received_fields", "run_told"]


class ToldRequest(Request):
    """A request whose end is told.

    Attributes:
        shown: what it returned or raised, as text, and the traceback.
    """

    __slots__ = ("shown",)

    shown: tuple[str, str | None]

    def note(self, value: Any, trace: str | None = None) -> None:
        """It ended so."""
        self.shown = (shortrepr(value), trace)


class OneByOne(Protocol):
    """The part of a runner that is needed here."""

    def run(self, delivery: Delivery) -> Outcome:
        """See `Runner.run`."""

    def read(self, delivery: Delivery) -> tuple[Handler, TaskCall]:
        """See `Runner.read`."""

    def carry_out(self, delivery: Delivery, handler: Handler, request: Request, limited: bool) -> Outcome:
        """See `Runner.carry_out`."""


def run_told(runner: OneByOne, delivery: Delivery, node: str) -> Outcome:
    """Run one delivery as `Runner.run` does, and note for events how it ended and how long it took.

    Parameters:
        node: the worker's name.
    """
    try:
        handler, call = runner.read(delivery)
    except MessageError:
        return runner.run(delivery)
    now = time.time()
    if (call.expires is not None and call.expires <= now) or (call.eta is not None and call.eta > now):
        return runner.run(delivery)
    request = ToldRequest(call, delivery.message, node, delivery.attempts)
    current.set(request)
    began = time.monotonic()
    outcome = runner.carry_out(delivery, handler, request, call.time_limit is not None)
    outcome.seconds = time.monotonic() - began
    outcome.shown = getattr(request, "shown", None)
    return outcome


# ── what events say of deliveries and outcomes ───────────────────────────────────────────────────────────


def id_of(delivery: Delivery) -> str | None:
    """A delivery's task id, if its headers have one."""
    headers = delivery.message.headers if delivery.message is not None else None
    id = headers.get("id") if isinstance(headers, dict) else None
    return id if isinstance(id, str) else None


def received_fields(delivery: Delivery) -> dict[str, Any] | None:
    """What ``task-received`` says of a delivery; None if it can't be told whose it is."""
    id = id_of(delivery)
    if id is None or delivery.message is None:
        return None
    headers = delivery.message.headers
    return {
        "uuid": id, "name": headers.get("task"), "args": headers.get("argsrepr", "()"),
        "kwargs": headers.get("kwargsrepr", "{}"), "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"), "retries": headers.get("retries") or 0,
        "eta": headers.get("eta"), "expires": headers.get("expires"),
    }  # fmt: skip


def ended_event(outcome: Outcome) -> tuple[str, dict[str, Any]] | None:
    """The type and fields of the event that tells how a run ended; None if that is not told."""
    id = id_of(outcome.delivery) or (outcome.result.id if outcome.result is not None else None)
    if id is None:
        return None
    state = outcome.state
    text, trace = outcome.shown or ("None", None)
    if state == SUCCESS:
        return "task-succeeded", {"uuid": id, "result": text, "runtime": outcome.seconds}
    if state == FAILURE or (state == REJECTED and outcome.shown is not None):
        return "task-failed", {"uuid": id, "exception": text, "traceback": trace}
    if state == RETRY:
        return "task-retried", {"uuid": id, "exception": text, "traceback": trace}
    if state == REVOKED:
        signum = outcome.signum
        fields = {"uuid": id, "terminated": signum is not None, "signum": signum}
        return "task-revoked", {**fields, "expired": text == EXPIRED}
    if state == REJECTED and outcome.settlement is not None:
        return "task-rejected", {"uuid": id, "requeue": outcome.settlement.verdict is not Verdict.DEAD}
    return None


EXPIRED = "expired"
"""What an outcome shows of a task that came too late."""
