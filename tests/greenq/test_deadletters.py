"""Dead letters from Python, and the manual's page about them."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from greenq import GreenQ
from greenq.errors import ResultStoreError
from greenq.message import DeadLetter, Result, Settlement, Verdict
from greenq.testing.app import in_memory, working
from greenq.testing.messages import PATIENCE, make, take
from tests.documents import blocks

PAGE = Path(__file__).parents[2] / "docs" / "dead-letters.md"


@pytest.fixture
def app() -> Iterator[GreenQ]:
    with in_memory(GreenQ("shop")) as app:
        app.broker.lease("test", 60.0)
        yield app


def bury(app: GreenQ, *ids: str, queue: str = "q") -> list[DeadLetter]:
    """Make dead letters whose tasks are recorded as failed; the newest first."""
    app.broker.publish([make(id, queue) for id in ids], PATIENCE)
    for delivery in take(app.broker, len(ids), [queue]):
        app.broker.settle([Settlement(delivery, Verdict.DEAD, reason="it was its time")], PATIENCE)
    assert app.results is not None
    records = [Result(id, "FAILURE") for id in ids]
    for record in records:
        app.results.encode(record)
    app.results.put(records, PATIENCE)
    return app.dead.list(queue)


def test_they_are_listed_by_queue_and_number_the_newest_first(app: GreenQ) -> None:
    bury(app, "a", "b")
    bury(app, "c", queue="other")
    assert [letter.message.headers["id"] for letter in app.dead.list() if letter.message] == ["c", "b", "a"]
    assert [letter.message.headers["id"] for letter in app.dead.list("q", 1) if letter.message] == ["b"]
    assert len(app.dead.list(limit=None)) == 3


def test_one_is_found_by_its_key(app: GreenQ) -> None:
    newest, _ = bury(app, "a", "b")
    assert app.dead.find(newest.key) == newest
    assert app.dead.find("no such key") is None


@pytest.mark.parametrize("by_key", [True, False])
def test_a_replay_forgets_how_the_task_ended(app: GreenQ, by_key: bool) -> None:
    letters = bury(app, "a", "b")
    assert app.results is not None
    assert app.dead.replay(letters[0].key if by_key else letters[0])
    assert set(app.results.get(["a", "b"], PATIENCE)) == {"a"}
    assert [delivery.attempts for delivery in take(app.broker, 1, ["q"])] == [0]
    assert app.dead.list() == letters[1:]


def test_what_is_not_there_is_not_replayed_and_nothing_is_forgotten(app: GreenQ) -> None:
    [letter] = bury(app, "a")
    assert app.dead.purge() == 1
    assert app.dead.replay(letter.key) is False
    assert app.results is not None
    assert set(app.results.get(["a"], PATIENCE)) == {"a"}


def test_a_letter_whose_record_cannot_be_forgotten_stays(
    app: GreenQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = bury(app, "a")

    def away(ids: object) -> None:
        raise ResultStoreError("the store is away")

    monkeypatch.setattr(app.results, "forget", away)
    with pytest.raises(ResultStoreError, match="away"):
        app.dead.replay(letter)
    assert app.dead.list() == [letter]


def test_those_of_one_queue_are_purged(app: GreenQ) -> None:
    bury(app, "a", "b")
    kept = bury(app, "c", queue="other")
    assert app.dead.purge("q") == 2
    assert app.dead.list() == kept


def test_every_example_of_the_page_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    found = list(blocks(PAGE.read_text()))
    for block in found:
        if block.language == "python":
            exec(compile(block.text, PAGE.name, "exec"), module.__dict__)
    sessions = "\n".join(block.text for block in found if block.language == "pycon")
    test = doctest.DocTestParser().get_doctest(sessions, dict(module.__dict__), PAGE.name, str(PAGE), 0)
    said: list[str] = []
    runner = doctest.DocTestRunner()
    with working(module.app):
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
