"""What holds of every way that nodes talk to each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers import connect
from greenq.brokers.base import Broker
from greenq.control.revocations import Revocations, as_member
from greenq.radio import Post, Radio
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

PIDBOX, REPLIES, EVENTS = "celery.pidbox", "reply.celery.pidbox", "celeryev"


@pytest.fixture(params=["redis", "rabbitmq", "sqlite", "memory"])
def brokers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Broker, Broker]]:
    """Two brokers at one place."""
    url = {
        "redis": lambda: shared_redis().empty(), "rabbitmq": lambda: shared_rabbit().empty(),
        "sqlite": lambda: f"sqlite:///{tmp_path}/greenq.db", "memory": lambda: f"memory://{tmp_path.name}",
    }[request.param]()  # fmt: skip
    with connect(url) as one, connect(url) as other:
        yield one, other


@pytest.fixture
def radios(brokers: tuple[Broker, Broker]) -> Iterator[tuple[Radio, Radio]]:
    """A radio of each."""
    made = [broker.radio() for broker in brokers]
    assert made[0] is not None
    assert made[1] is not None
    yield made[0], made[1]
    for radio in made:
        assert radio is not None
        radio.close()


def test_all_who_listen_hear_what_is_announced(radios: tuple[Radio, Radio]) -> None:
    heard: list[tuple[str, Post]] = []
    for name, radio in zip("ab", radios, strict=True):
        radio.listen(PIDBOX, f"{name}@test", lambda post, name=name: heard.append((name, post)))  # type: ignore[misc]
    bodies = [bytes([n]) * 1000 for n in range(5)]
    radios[0].announce([Post(PIDBOX, "", body, {"clock": 7}) for body in bodies], PATIENCE)
    radios[0].announce([Post("other.pidbox", "", b"for others")], PATIENCE)
    until(lambda: len(heard) == 10)
    for name in "ab":
        mine = [post for who, post in heard if who == name]
        assert [post.body for post in mine] == bodies
        assert all((post.exchange, post.headers["clock"]) == (PIDBOX, 7) for post in mine)


def test_an_answer_reaches_its_box_and_no_other(radios: tuple[Radio, Radio]) -> None:
    asking, answering = radios
    box, other = asking.box(REPLIES, "one", PATIENCE), asking.box(REPLIES, "two", PATIENCE)
    posts = [Post(REPLIES, "one", b"1"), Post(REPLIES, "nobody", b"2"), Post(REPLIES, "one", b"3")]
    answering.reply(posts, PATIENCE)
    found = [box.next(PATIENCE), box.next(PATIENCE)]
    assert [post.body for post in found if post is not None] == [b"1", b"3"]
    assert other.next(0.05) is None
    for one in (box, other):
        one.close()
        one.close()


def test_events_are_followed_by_the_beginning_of_their_key(radios: tuple[Radio, Radio]) -> None:
    if not radios[0].carries_events:
        assert radios[0].follow(EVENTS, "a@test", "worker.elect", print) is None
        return
    heard: list[str] = []
    radios[0].follow(EVENTS, "a@test", "worker.elect", lambda post: heard.append(post.key))
    keys = ["worker.elect", "worker.heartbeat", "worker.elect.ack", "task.multi", "worker.electric"]
    radios[1].publish_events([Post(EVENTS, key, b"{}") for key in keys], PATIENCE)
    until(lambda: len(heard) >= 2)
    assert heard == ["worker.elect", "worker.elect.ack"]


def test_what_is_remembered_is_bounded_in_number_and_age(radios: tuple[Radio, Radio]) -> None:
    one, other = radios
    if not one.remembers:
        one.remember(["a"], 60, 3, PATIENCE)
        assert one.remembered(60, PATIENCE) == []
        return
    for name in "abcde":
        one.remember([name], 60, 3, PATIENCE)
    assert other.remembered(60, PATIENCE) == ["c", "d", "e"]
    one.remember(["c"], 60, 3, PATIENCE)
    assert other.remembered(60, PATIENCE) == ["d", "e", "c"]
    assert other.remembered(-1, PATIENCE) == []


def test_revocations_are_bounded_and_take_in_no_rubbish() -> None:
    known = Revocations(3, 60)
    known.merge([as_member("a"), as_member(("name", "value")), "{", "5", "[1, 2]", '["x"]', '""', "null"])
    assert known.ids() == ["a"]
    assert known.has("a", {})
    assert known.has("z", {"stamps": {"name": ["other", "value"]}})
    assert not known.has(None, {"stamps": "rubbish"})
    known.add(["b", "c", "d", "x" * 5000])
    assert known.ids() == ["b", "c", "d"]
    gone = Revocations(3, -1)
    gone.add(["a"])
    assert not gone.some
