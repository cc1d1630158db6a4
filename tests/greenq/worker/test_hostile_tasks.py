"""Whatever a task raises, returns or does to its request, its message comes to an end and others go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, Reject
from greenq.errors import ResultStoreError
from greenq.message import Message, Outcome
from greenq.worker.worker import Worker
from pools.threads import ThreadPool
from tests.waiting import PATIENCE, until


class Mute(Exception):
    def __repr__(self) -> str:
        raise self

    __str__ = __repr__


class MuteBase(BaseException):
    def __repr__(self) -> str:
        raise self

    __str__ = __repr__


class Argless(Exception):
    @property
    def args(self) -> Any:
        raise self


class Nameless(type):
    @property
    def __module__(cls) -> Any:
        raise RuntimeError("no module")


class Strange(Exception, metaclass=Nameless):
    pass


RAISED = {
    "cannot be shown": Mute,
    "cannot be shown, nor its arguments stored": lambda: Mute(object()),
    "a base exception that cannot be shown": lambda: MuteBase(object()),
    "no arguments": Argless,
    "a class without a module": Strange,
    "lone surrogates": lambda: ValueError("\ud800"),
    "itself as argument": lambda: circular(),
    "StopIteration": lambda: StopIteration(1),
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "rejected with lone surrogates": lambda: Reject("\ud800"),
}


def circular() -> Exception:
    error = ValueError()
    error.args = (error.args, [error])
    error.args[1].append(error.args)
    return error


@pytest.fixture(params=["json", "msgpack"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GreenQ]:
    url = f"sqlite:///{tmp_path}/greenq.db"
    app = GreenQ("shop", broker=url, results={"url": url, "serializer": request.param})

    @app.task(name="shop.add")
    def add(x, y):
        return x + y

    @app.task(name="shop.throw")
    def throw(name):
        raise RAISED[name]()

    @app.task(name="shop.throw_and_keep", acks_on_failure=False)
    def throw_and_keep(name):
        raise RAISED[name]()

    @app.task(name="shop.rename", bind=True)
    def rename(self, id):
        self.request.id = id

    @app.task(name="shop.adopt", bind=True)
    def adopt(self):
        self.request.children.append(object())

    @app.task(name="shop.tracked", track_started=True)
    def tracked():
        return "ran"

    yield app
    app.close()


@pytest.fixture
def worker(app: GreenQ) -> Iterator[Worker]:
    with ThreadPool(4) as pool:
        worker = Worker(app, pool)
        worker.start()
        yield worker
        worker.stop(0)


def until_all_have_ended(app: GreenQ) -> None:
    def none_left() -> bool:
        depth = app.broker.depth()["celery"]
        return not depth.ready and not depth.leased

    until(none_left, what="every message came to an end")


@pytest.mark.usefixtures("worker")
def test_whatever_a_task_raises_is_recorded_and_its_message_ends(app: GreenQ) -> None:
    results = [app.send_task("shop.throw", (name,)) for name in RAISED if not name.startswith("rejected")]
    results.append(app.send_task("shop.adopt"))
    for name in RAISED:
        app.send_task("shop.throw_and_keep", (name,))
    until_all_have_ended(app)
    assert [result.state for result in results] == ["FAILURE"] * len(results)
    assert app.broker.depth()["celery"].dead == len(RAISED)
    assert app.send_task("shop.add", (1, 2)).get(timeout=PATIENCE) == 3


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("id", ["\ud800", None, 7], ids=["lone surrogate", "none", "number"])
def test_an_id_that_no_store_can_keep_holds_up_nobody(app: GreenQ, id: Any) -> None:
    app.send_task("shop.rename", (id,))
    if isinstance(id, str):
        body = b"[[], {}, {}]"
        for task in ("shop.tracked", "shop.nothing"):
            headers = {"task": task, "id": id}
            app.broker.publish([Message("celery", headers, body, "application/json", "utf-8")], PATIENCE)
    assert app.send_task("shop.add", (1, 2)).get(timeout=PATIENCE) == 3
    until_all_have_ended(app)


def test_a_task_runs_though_its_start_cannot_be_recorded(app: GreenQ, worker: Worker) -> None:
    real = app.results.put

    def away(results, timeout):
        if results[0].state == "STARTED":
            raise ResultStoreError("away for the test")
        return real(results, timeout)

    app.results.put = away
    assert app.send_task("shop.tracked").get(timeout=PATIENCE) == "ran"


def test_an_outcome_that_breaks_the_store_is_dead_lettered_and_the_others_leave(
    app: GreenQ, worker: Worker
) -> None:
    real = app.results.commit

    def commit(broker, outcomes: list[Outcome], timeout):
        if any(o.result is not None and b"poison" in o.result.payload for o in outcomes):
            raise RuntimeError("a mistake in the store")
        return real(broker, outcomes, timeout)

    app.results.commit = commit
    results = [app.send_task("shop.add", ("a ", "word")) for _ in range(10)]
    app.send_task("shop.add", ("poi", "son"))
    results += [app.send_task("shop.add", ("a ", "word")) for _ in range(10)]
    assert app.wait(results, PATIENCE) == ["a word"] * 20
    until_all_have_ended(app)
    (letter,) = app.broker.dead()
    assert "a mistake in the store" in letter.reason


def test_a_call_whose_end_cannot_be_made_out_is_dead_lettered(app: GreenQ, worker: Worker) -> None:
    def broken(*_):
        raise MuteBase

    worker._runner.endings.succeeded = broken
    worker._runner.endings.failed = broken
    app.send_task("shop.add", (1, 2))
    until(lambda: app.broker.depth()["celery"].dead == 1, what="the dead letter")
    assert "could not be made out" in app.broker.dead()[0].reason


def test_what_is_sent_after_a_change_of_directory_reaches_the_same_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sender, receiver = GreenQ("shop"), GreenQ("shop")
    receiver.broker.lease("test", 60)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    sender.send_task("shop.add", (1, 2))
    assert len(receiver.broker.fetch(["celery"], 1, PATIENCE)) == 1
    sender.close()
    receiver.close()
