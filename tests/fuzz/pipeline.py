"""The way of one delivery through a worker, without broker and pool: it must end once, and be told."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import Any

from greenq import GreenQ
from greenq.amqp.envelope import pack_header
from greenq.amqp.resending import dead_letter, later
from greenq.errors import DecodeError, PublishError
from greenq.message import Delivery, Outcome, Settlement, Verdict
from greenq.redis.address import parse
from greenq.redis.keys import Keys
from greenq.redis.resp import pack
from greenq.results.base import ResultStore
from greenq.results.redis import RedisStore
from greenq.worker.consumer import Run
from greenq.worker.runner import Runner
from tests.fuzz.samples import ACCEPT

__all__ = ["MAX_BODY", "application", "end_of", "ends_once"]

MAX_BODY = 1 << 20
"""Bytes: small, so that a bomb shows."""
KEYS = Keys(parse("redis://localhost"))
ENDS = (Verdict.ACK, Verdict.DEAD, Verdict.RETRY_AT)


def application(
    broker: str = "memory://fuzz",
    results: str = "memory://fuzz",
    noted: Callable[[], None] = lambda: None,
) -> GreenQ:
    """The application whose messages are spoiled.

    Parameters:
        noted: called by each task as it begins.
    """
    app = GreenQ(
        "fuzz", broker=broker, results={"url": results, "extended": True}, accept=list(ACCEPT),
        tasks={"max_body": MAX_BODY},
    )  # fmt: skip

    @app.task(name="vec.add")
    def add(*args: Any, **kwargs: Any) -> Any:
        noted()
        return args[0]

    @app.task(name="vec.echo")
    def echo(*args: Any, **kwargs: Any) -> Any:
        noted()
        return [args, kwargs]

    @app.task(name="vec.fail")
    def fail(*args: Any, **kwargs: Any) -> Any:
        noted()
        raise ValueError(*args)

    return app


@cache
def _runner() -> tuple[Runner, ResultStore]:
    logging.getLogger("greenq").setLevel(logging.CRITICAL + 1)
    app = application()
    store = app.results
    assert store is not None
    return Runner(app, "fuzz@host", lambda function: function), store


@cache
def _redis() -> RedisStore:
    """A store that is never asked: it only says what a server would be told."""
    return RedisStore("redis://localhost", _packed, json.loads)


def _packed(record: dict[str, Any]) -> bytes:
    return json.dumps(record, default=repr).encode()


def end_of(delivery: Delivery) -> Outcome:
    """What a worker makes of a delivery, errors of greenq's own included."""
    runner, _ = _runner()
    message = delivery.message
    name = message.headers.get("task") if message is not None else None
    Run(delivery, runner.handlers.get(name) if isinstance(name, str) else None)
    return copy_context().run(runner.run, delivery)  # as each task runs in a context of its own


def ends_once(delivery: Delivery, wire: str) -> str:
    """Take a delivery to its end and check what is left behind.

    Parameters:
        wire: the broker that is told of the end.

    Returns:
        How it ended.
    """
    _, store = _runner()
    outcome = end_of(delivery)
    settlement = outcome.settlement
    assert settlement is not None, "no end"
    assert settlement.verdict in ENDS, f"no end: {settlement.verdict}"
    assert settlement.delivery is delivery
    if settlement.verdict is Verdict.DEAD:
        assert 0 < len(settlement.reason or "") < 2000, f"a bad reason: {settlement.reason!r}"
        (settlement.reason or "").encode()
    if settlement.verdict is Verdict.RETRY_AT:
        assert (settlement.due or 0.0) > time.time() - 5
    if outcome.result is not None:
        try:
            record = store.decode(outcome.result.payload)
        except DecodeError:
            # A dictionary that looks like one of kombu's extended types: its JSON has no way to tell.
            assert b'"__type__"' in outcome.result.payload
        else:
            assert (record.id, record.state) == (outcome.result.id, outcome.result.state)
    _told(settlement, outcome, wire)
    return f"{settlement.verdict.value} {outcome.state}"


def _told(settlement: Settlement, outcome: Outcome, wire: str) -> None:
    """Write what the broker is sent: nothing may be impossible to write, or it would wait for ever."""
    if wire == "redis":
        pack(*_redis().step(outcome).arguments(KEYS))
    elif wire == "amqp" and settlement.verdict is not Verdict.ACK:
        message, extra = dead_letter(settlement) if settlement.verdict is Verdict.DEAD else later(settlement)
        try:
            pack_header(message, extra)
        except PublishError as error:
            raise AssertionError(f"it can be fetched and not put elsewhere: {error}") from error
    elif wire == "json" and settlement.reason:
        json.dumps(settlement.reason)
