"""The manual's table of endings is the code's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from greenq import GreenQ
from greenq.message import Delivery, Verdict
from greenq.protocol import EMBED, TaskCall
from greenq.request import Request
from greenq.worker.endings import Endings
from greenq.worker.followups import FollowUps
from greenq.worker.handlers import handlers_of
from greenq.worker.records import Records

PAGE = Path(__file__).parents[3] / "docs" / "guarantees.md"


def test_the_manual_lists_every_way_a_task_can_end() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    endings = [
        name
        for name, method in inspect.getmembers(Endings, inspect.isfunction)
        if not name.startswith("_") and inspect.signature(method).return_annotation == "Outcome"
    ]
    assert sorted(rows) == sorted(endings)


def test_each_ending_says_what_is_recorded_and_how_the_message_is_settled() -> None:
    for name, method in inspect.getmembers(Endings, inspect.isfunction):
        if not name.startswith("_") and inspect.signature(method).return_annotation == "Outcome":
            assert ":" in (method.__doc__ or ""), name
            assert ";" in (method.__doc__ or ""), name


def test_an_extended_result_tells_what_was_called_though_its_arguments_cannot_be_encoded() -> None:
    app = GreenQ("shop", broker="memory://extended", results={"url": "memory://extended"})
    app.task(name="shop.work")(len)
    fields = {"id": "1", "task": "shop.work", "retries": 2, "parent_id": "0", "group": "g"}
    request = Request(TaskCall((object(), 1), {"k": 2}, EMBED, fields), hostname="w@h")
    followups = FollowUps(app, "w@h", lambda fn: fn, lambda call: call())
    endings = Endings(Records(lambda: app.results, 60.0, extended=True), followups)
    [handler] = handlers_of(app.tasks, lambda fn: fn, True).values()
    outcome = endings.succeeded(Delivery(None, "q", None), handler, request, "done")
    assert outcome.result is not None
    assert app.results is not None
    app.results.put([outcome.result], 10.0)
    found = app.AsyncResult("1")
    assert (found.get(timeout=10), found.name, found.worker, found.retries) == ("done", "shop.work", "w@h", 2)
    assert found.args.startswith("(<object object at")
    assert app.results.get(["1"], 10.0)["1"].extra["parent_id"] == "0"
    assert app.results.get(["1"], 10.0)["1"].extra["group_id"] == "g"
    app.close()


class Bomb:
    """Unpickled, it notes that, as one that ends its process would."""

    went_off = 0

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return ignite, ()


def ignite() -> None:
    Bomb.went_off += 1


def test_what_is_given_up_for_its_deaths_is_not_unpickled_once_more() -> None:
    app = GreenQ("shop", broker="memory://given-up", results="memory://given-up", accept=["json", "pickle"])
    followups = FollowUps(app, "w@h", lambda fn: fn, lambda call: call())
    endings = Endings(Records(lambda: app.results, 60.0, extended=False), followups)
    errback = {"task": "shop.told", "args": [], "kwargs": {}, "options": {"task_id": "told"}}
    options: Any = {"link_error": [errback]}
    for serializer, sent in (("json", 1), ("pickle", 0)):
        args = (1,) if serializer == "json" else (Bomb(),)
        message = app.composer.compose("shop.work", args, {}, {**options, "serializer": serializer})
        outcome = endings.exhausted(Delivery(message, "celery", None, attempts=5))
        assert outcome.settlement is not None
        assert outcome.settlement.verdict is Verdict.DEAD
        assert len(outcome.publishes) == sent
    assert Bomb.went_off == 0
    app.close()
