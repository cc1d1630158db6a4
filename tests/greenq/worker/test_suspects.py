"""Suspects: tried apart from the others, charged when they were tried last, and never run twice here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from greenq import GreenQ
from greenq.brokers.memory import MemoryBroker
from greenq.message import Delivery, Depth, Result
from greenq.protocol import key_of
from greenq.testing.messages import PATIENCE, make, take, until
from greenq.worker import suspects
from greenq.worker.worker import Worker
from pools import table


class Shop:
    """An application in memory, what its tasks did, and a worker that the test starts."""

    def __init__(self, **worker: object) -> None:
        url = f"memory://{time.monotonic_ns()}"
        self.url = url
        self.app = GreenQ("shop", broker=url, results=url, worker=worker)
        self.pool = table.create("threads", 40)
        self.worker: Worker
        self.gates: dict[str, threading.Event] = {}
        self.began: list[str] = []
        self.app.task(self.work, name="work")
        self.app.task(self.once, name="once", acks_late=False)

    def work(self, name: str) -> str:
        """Run until the test opens its gate, if there is one."""
        self.began.append(name)
        gate = self.gates.get(name)
        assert gate is None or gate.wait(PATIENCE)
        return name

    def once(self, name: str) -> None:
        self.began.append(name)

    def suspect(
        self, *names: str, deaths: int = 1, task: str = "work", spared: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """Send calls that were in flight at a death, and charged with all others but for those `spared`.

        Returns:
            Their ids by name.
        """
        sent = {name: self.app.send_task(task, (name,)).id for name in names}
        for death in range(deaths):
            victim = MemoryBroker(self.url)
            victim.lease(f"victim {death}", 60.0)
            deliveries = take(victim, len(names), ["celery"])
            if death:
                assert all(victim.charge([d for d in deliveries if argument(d) not in spared], PATIENCE))
            assert self.app.broker.release(f"victim {death}") == len(names)
        return sent

    def gate(self, *names: str) -> None:
        """Let them run until `open`."""
        for name in names:
            self.gates[name] = threading.Event()

    def open(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()

    def start(self) -> Worker:
        self.worker = Worker(self.app, self.pool)
        self.worker.start()
        return self.worker

    def until_began(self, *names: str) -> None:
        until(lambda: set(names) <= set(self.began), f"the start of {names}")

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self.worker.stop(PATIENCE)
        self.pool.close(0)
        self.app.close()


def argument(delivery: Delivery) -> str:
    assert delivery.message is not None
    return str(delivery.message.headers["argsrepr"]).strip("()', ")


@pytest.fixture
def make_shop() -> Iterator[Callable[..., Shop]]:
    made: list[Shop] = []

    def make(**worker: object) -> Shop:
        made.append(Shop(**worker))
        return made[-1]

    yield make
    for shop in made:
        shop.close()


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


def depth(shop: Shop) -> Depth:
    return shop.app.broker.depth()["celery"]


# ── trials ───────────────────────────────────────────────────────────────────────────────────────────────


def test_few_suspects_are_tried_one_after_the_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 1000.0)
    shop.suspect("a", "b", "c")
    shop.gate("a", "b", "c")
    shop.start()
    for name in ("a", "b", "c"):
        shop.until_began(name)
        assert shop.began[-1] == name
        time.sleep(0.1)  # nobody else begins in the meantime
        assert shop.began[-1] == name
        shop.open(name)
    until(lambda: depth(shop) == Depth(), "the end of all")


def test_one_that_runs_long_makes_room_after_its_trial(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 0.2)
    shop.suspect("long", "next")
    shop.gate("long")
    shop.start()
    shop.until_began("long", "next")
    until(lambda: depth(shop) == Depth(leased=1), "the end of the next")


def test_normal_messages_do_not_wait_for_suspects(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 1000.0)
    shop.suspect("a", "b")
    shop.gate("a", "b")
    shop.start()
    shop.until_began("a")
    assert shop.app.send_task("work", ("normal",)).get(timeout=PATIENCE) == "normal"
    assert "b" not in shop.began


def test_many_are_tried_in_groups(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 1000.0)
    names = [f"{number}" for number in range(32)]
    shop.suspect(*names)
    shop.gate(*names)
    shop.start()
    for first in range(0, 32, 4):
        group = names[first : first + 4]
        shop.until_began(*group)
        assert len(shop.began) == first + 4
        shop.open(*group)
    until(lambda: depth(shop) == Depth(), "the end of all")


def test_a_death_is_charged_to_who_was_tried_last(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 0.3)
    shop.suspect("first", "second", "third")
    shop.gate("first", "second", "third")
    shop.start()
    shop.until_began("first", "second", "third")

    def charged() -> dict[str, int]:
        space = shop.app.broker.space  # type: ignore[attr-defined]
        with space.lock:
            held = list(space._leased[shop.worker.process].values())
        return {argument(place.delivery("", 0)): place.attempts for _, place in held}

    until(lambda: charged() == {"first": 1, "second": 1, "third": 2}, "the withdrawal of the others' charges")
    shop.open("third")
    until(lambda: charged() == {"first": 1, "second": 2}, "the charge of the last that still runs")


def test_the_last_chance_is_alone_and_comes_last(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 0.05)
    shop = make_shop(max_deliveries=3)
    shop.suspect("last", "also last", "other", deaths=2, spared=("other",))
    shop.gate("last", "also last", "other")
    shop.start()
    shop.until_began("other")
    time.sleep(0.3)
    assert shop.began == ["other"]
    shop.open("other")
    shop.until_began("last")
    time.sleep(0.3)
    assert shop.began == ["other", "last"]
    shop.open("last")
    shop.until_began("also last")


def test_whoever_had_its_last_chance_is_given_up(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(max_deliveries=3)
    [id] = shop.suspect("killer", deaths=3).values()
    shop.start()
    until(lambda: depth(shop) == Depth(dead=1), "its end")
    assert shop.began == []
    [letter] = shop.app.dead.list()
    assert letter.reason == "the worker process that ran it died, 3 times"
    with pytest.raises(Exception, match="died, 3 times"):
        shop.app.AsyncResult(id).get(timeout=PATIENCE)


def test_a_worker_that_stops_gives_back_its_suspects_uncharged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "TRIAL", 1000.0)
    shop.suspect("runs", "waits")
    shop.gate("runs")
    worker = shop.start()
    shop.until_began("runs")
    worker.stop(0.0)
    reader = MemoryBroker(shop.url)
    reader.lease("reader", 60.0)
    deliveries = take(reader, 2, ["celery"])
    assert {argument(one): one.attempts for one in deliveries} == {"runs": 1, "waits": 1}


def test_a_suspect_that_is_acknowledged_early_runs_too(shop: Shop) -> None:
    shop.suspect("a", "b", task="once")
    shop.start()
    shop.until_began("a", "b")
    until(lambda: depth(shop) == Depth(), "the end of both")


def test_a_suspect_that_nobody_can_run_is_dead_lettered(shop: Shop) -> None:
    shop.suspect("a", task="unknown")
    shop.start()
    until(lambda: depth(shop) == Depth(dead=1), "its end")


# ── what has ended already ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_what_the_store_says_has_ended_is_not_run_again(shop: Shop, state: str) -> None:
    sent = shop.suspect("ended", "not ended")
    store = shop.app.results
    assert store is not None
    records = [Result(sent["ended"], state, "as it was"), Result(sent["not ended"], "STARTED")]
    for record in records:
        store.encode(record)
    store.put(records, PATIENCE)
    shop.start()
    until(lambda: depth(shop) == Depth(), "the end of both")
    assert shop.began == ["not ended"]
    assert store.get([sent["ended"]], PATIENCE)[sent["ended"]].value == "as it was"


def test_that_holds_for_one_that_had_its_last_chance(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(max_deliveries=2)
    [id] = shop.suspect("ended", deaths=2).values()
    store, record = shop.app.results, Result(id, "FAILURE", "its limit")
    assert store is not None
    store.encode(record)
    store.put([record], PATIENCE)
    shop.start()
    until(lambda: depth(shop) == Depth(), "its end")
    assert store.get([id], PATIENCE)[id].value == "its limit"


# ── what runs here, or has ended here ────────────────────────────────────────────────────────────────────


def lose_lease(shop: Shop) -> None:
    """Let the worker be taken for dead, and what it holds return to the queue."""
    other = MemoryBroker(shop.url)
    other.release(shop.worker.process)


def test_what_runs_here_is_not_run_again_and_its_end_is_recorded(shop: Shop) -> None:
    shop.gate("long")
    sent = shop.app.send_task("work", ("long",))
    worker = shop.start()
    shop.until_began("long")
    lose_lease(shop)
    until(lambda: worker.stats()["suspects"] == 1, "the return of the message")
    shop.open("long")
    assert sent.get(timeout=PATIENCE) == "long"
    until(lambda: depth(shop) == Depth(), "the acknowledgement")
    assert shop.began == ["long"]
    assert worker.stats()["lost_leases"] == 1


def test_two_copies_of_one_suspect_that_come_together_run_once(shop: Shop) -> None:
    """A process may die between sending a copy and the acknowledgement of what it copied."""
    message = shop.app.composer.compose("work", ("twice",), {})
    assert shop.app.broker.publish([message, message], PATIENCE) == [None, None]
    victim = MemoryBroker(shop.url)
    victim.lease("victim", 60.0)
    take(victim, 2, ["celery"])
    assert shop.app.broker.release("victim") == 2
    shop.start()
    until(lambda: shop.app.broker.depth()["celery"] == Depth(), "the end of both")
    assert shop.began == ["twice"]


def test_what_has_ended_here_under_a_lost_lease_is_committed_again(shop: Shop) -> None:
    shop.gate("long")
    sent = shop.app.send_task("work", ("long",))
    worker = shop.start()
    shop.until_began("long")
    worker._broker.fetch = lambda *_: time.sleep(0.02) or []  # type: ignore[method-assign, func-returns-value]
    worker._broker.wake()
    time.sleep(0.1)
    lose_lease(shop)
    shop.open("long")
    until(lambda: worker.stats()["lost_leases"] == 1, "the refusal of its settlement")
    assert (sent.state, depth(shop)) == ("PENDING", Depth(ready=1))
    del worker._broker.fetch
    assert sent.get(timeout=PATIENCE) == "long"
    until(lambda: depth(shop) == Depth(), "the acknowledgement")
    assert shop.began == ["long"]


def test_a_worker_that_stops_still_records_what_lost_its_lease(shop: Shop) -> None:
    shop.gate("long")
    sent = shop.app.send_task("work", ("long",))
    worker = shop.start()
    shop.until_began("long")
    lose_lease(shop)
    until(lambda: worker.stats()["suspects"] == 1, "the return of the message")
    threading.Timer(0.3, lambda: shop.open("long")).start()
    assert worker.stop(PATIENCE)
    assert sent.get(timeout=PATIENCE) == "long"
    assert depth(shop) == Depth()
    assert shop.began == ["long"]


def test_a_redelivery_is_known_by_queue_id_and_number_of_the_retry() -> None:
    key = key_of(make("a"))
    assert key == key_of(make("a", body=b"[[3, 4], {}, {}]"))
    assert key != key_of(make("a", "other"))
    assert key != key_of(make("a", headers={"id": "a", "retries": 1}))
    assert key_of(make("")) is None
