"""Signals: who is told, who is not, and what a receiver can't spoil."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from greenq import GreenQ, SoftTimeLimitExceeded, signals
from greenq.message import Delivery, Message
from greenq.signals import RUNS, Signal
from greenq.worker.telling import tell_unreadable


@pytest.fixture
def signal() -> Signal:
    return Signal("test", set())


class Told:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def __call__(self, **kwargs: Any) -> int:
        self.said.append(kwargs)
        return len(self.said)

    def hear(self, **kwargs: Any) -> None:
        self.said.append(kwargs)


def test_a_receiver_gets_the_signal_the_sender_and_what_is_told(signal: Signal) -> None:
    told = Told()
    signal.connect(told)
    assert signal.send("me", x=1) == [(told, 1)]
    assert told.said == [{"signal": signal, "sender": "me", "x": 1}]


def test_connecting_is_a_decorator_with_and_without_arguments(signal: Signal) -> None:
    said = []

    @signal.connect
    def one(**kwargs: Any) -> None:
        said.append("one")

    @signal.connect(sender="me")
    def other(**kwargs: Any) -> None:
        said.append("other")

    signal.send("you")
    signal.send("me")
    assert said == ["one", "one", "other"]


def test_a_sender_is_the_object_itself_or_the_same_text(signal: Signal) -> None:
    told = Told()
    task = object()
    signal.connect(told, sender=task)
    signal.connect(told, sender="shop.add")
    assert [len(signal.send(who)) for who in (object(), task, "shop." + "add", None)] == [0, 1, 1, 0]
    assert signal.has_listeners(task)
    assert not signal.has_listeners("shop.other")


def test_a_receiver_that_nobody_keeps_is_forgotten(signal: Signal) -> None:
    signal.connect(Told())
    gc.collect()
    assert not signal.receivers
    assert signal.send() == []


def test_a_method_lives_as_long_as_its_object(signal: Signal) -> None:
    told = Told()
    signal.connect(told.hear)
    gc.collect()
    signal.send()
    assert len(told.said) == 1
    del told
    gc.collect()
    assert not signal.receivers


def test_a_receiver_that_is_kept_lives_without_anybody_else(signal: Signal) -> None:
    signal.connect(lambda **kwargs: "alive", weak=False)
    gc.collect()
    assert [answer for _, answer in signal.send()] == ["alive"]


def test_connected_twice_it_is_called_once(signal: Signal) -> None:
    told, other = Told(), Told()
    for receiver in (told, told, other):
        signal.connect(receiver, dispatch_uid="only one")
    signal.connect(other)
    signal.connect(other)
    signal.send()
    assert (len(told.said), len(other.said)) == (1, 1)
    assert signal.disconnect(dispatch_uid="only one")
    assert not signal.disconnect(dispatch_uid="only one")
    assert signal.disconnect(other)
    assert not signal.receivers


def test_what_a_receiver_raises_is_logged_and_the_others_are_told(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> None:
        raise ValueError("broken")

    told = Told()
    signal.connect(broken)
    signal.connect(told)
    with caplog.at_level(logging.ERROR):
        answers = dict(signal.send())
    assert isinstance(answers[broken], ValueError)
    assert answers[told] == 1
    assert "broken, a receiver of test, failed" in caplog.text


def test_a_tasks_own_soft_limit_goes_through_a_receiver(signal: Signal) -> None:
    def slow(**kwargs: Any) -> None:
        raise SoftTimeLimitExceeded

    signal.connect(slow)
    with pytest.raises(SoftTimeLimitExceeded):
        signal.send()


def test_a_receiver_without_kwargs_is_refused(signal: Signal) -> None:
    with pytest.raises(ValueError, match=r"\*\*kwargs"):
        signal.connect(lambda sender: None)


def test_a_receiver_may_connect_and_disconnect_while_it_is_called(signal: Signal) -> None:
    late = Told()

    def once(**kwargs: Any) -> None:
        signal.disconnect(once)
        signal.connect(late)

    signal.connect(once)
    signal.send()
    signal.send()
    assert len(late.said) == 1


def test_a_worker_sees_at_one_look_that_nobody_listens_to_runs() -> None:
    heard: set[Signal] = set()
    one, other = Signal("one", heard), Signal("other", heard)
    told, forgotten = Told(), Told()
    one.connect(told)
    other.connect(forgotten)
    assert heard == {one, other}
    one.disconnect(told)
    del forgotten
    gc.collect()
    assert not heard
    runs = ("prerun", "postrun", "success", "failure", "retry", "internal_error")
    for name in runs:
        signal = getattr(signals, f"task_{name}")
        signal.connect(told, dispatch_uid="a test's")
        assert signal in RUNS
        assert signal.disconnect(dispatch_uid="a test's")


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def app() -> Iterator[GreenQ]:
    app = GreenQ("shop", broker="memory://signals", results="memory://signals")
    yield app
    app.broker.purge("celery")
    app.close()


def fetched(app: GreenQ) -> list[Message]:
    app.broker.declare(["celery"])
    app.broker.lease("test", 30.0)
    found = app.broker.fetch(["celery"], 100, 0.0)
    return [delivery.message for delivery in found if delivery.message is not None]


def test_a_receiver_may_add_headers_and_change_arguments_before_they_are_sent(app: GreenQ) -> None:
    seen: list[dict[str, Any]] = []

    def stamp(sender: str, body: Any, headers: dict[str, Any], **kwargs: Any) -> None:
        seen.append({"sender": sender, "names": sorted(kwargs), "queue": kwargs["routing_key"]})
        headers["trace"] = "abc"
        body[1]["added"] = True

    told = Told()
    signals.before_task_publish.connect(stamp)
    signals.after_task_publish.connect(told)
    try:
        app.send_task("shop.add", (1,), {"x": 2})
        app.send_many([])
        (message,) = fetched(app)
        assert message.headers["trace"] == "abc"
        args, kwargs, embed = app.codecs.decode(message.body, message.content_type, message.content_encoding)
        assert (args, kwargs) == ([1], {"x": 2, "added": True})
        (before,) = seen
        assert before["sender"] == "shop.add"
        assert before["queue"] == "celery"
        assert {"exchange", "routing_key", "declare", "properties", "retry_policy"} < set(before["names"])
        (after,) = told.said
        assert after["sender"] == "shop.add"
        assert after["headers"]["id"] == message.headers["id"]
        assert after["body"] == [[1], {"x": 2, "added": True}, embed]
    finally:
        signals.before_task_publish.disconnect(stamp)
        signals.after_task_publish.disconnect(told)


def test_what_all_messages_share_cannot_be_changed_by_a_receiver(app: GreenQ) -> None:
    def spoil(body: Any, **kwargs: Any) -> None:
        body[2]["callbacks"] = ["spoilt"]

    signals.before_task_publish.connect(spoil)
    app.send_task("shop.add")
    signals.before_task_publish.disconnect(spoil)
    app.send_task("shop.add")
    _, second = fetched(app)
    assert (
        app.codecs.decode(second.body, second.content_type, second.content_encoding)[2]["callbacks"] is None
    )


def test_a_header_that_no_broker_carries_is_refused_where_it_is_added(app: GreenQ) -> None:
    def spoil(headers: Any, **kwargs: Any) -> None:
        headers["socket"] = object()

    signals.before_task_publish.connect(spoil)
    try:
        with pytest.raises(TypeError, match="before_task_publish: the header 'socket'"):
            app.send_task("shop.add")
    finally:
        signals.before_task_publish.disconnect(spoil)


def test_a_message_that_is_no_task_is_told_of_without_one(app: GreenQ) -> None:
    told = Told()
    signals.task_rejected.connect(told)
    error = ValueError("no message")
    tell_unreadable(app, Delivery(None, "q", None), error)  # type: ignore[arg-type]
    assert [(one["message"], one["exc"]) for one in told.said] == [(None, error)]
