"""Unique tasks as parts of workflows: none is left out, none holds a key, and none frees another's."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from greenq import GreenQ
from greenq.canvas import chain, chord, group
from greenq.errors import AlreadyQueued, InvalidOption
from tests.greenq.throttling.places import Crowd, make, working
from tests.waiting import PATIENCE, until


def shop(url: str, gate: threading.Event | None = None) -> tuple[GreenQ, Any]:
    """An application with a unique task that passes on what it gets; it may wait for a gate."""
    app = make(url)

    @app.task(unique="what", name="build")
    def build(what: str) -> str:
        if what == "held" and gate is not None:
            gate.wait(PATIENCE)
        return what

    @app.task(name="joined")
    def joined(parts: list[str]) -> str:
        return " ".join(parts)

    return app, build


def test_links_members_and_bodies_run_though_another_call_holds_their_key(url: str) -> None:
    gate = threading.Event()
    app, build = shop(url, gate)
    with working(app):
        holder = build.delay("held")
        results = [
            chain(build.si("house"), build.si("house"), build.s()).apply_async(),
            group(build.s("shed"), build.s("shed")).apply_async(),
            chord([build.s("a"), build.s("a")], app.tasks["joined"].s() | build.s()).apply_async(),
        ]
        assert [result.get(timeout=PATIENCE) for result in results] == ["house", ["shed", "shed"], "a a"]
        # None of them has freed the key of the call that is still there.
        with pytest.raises(AlreadyQueued, match=holder.id):
            build.delay("held")
        gate.set()
        assert holder.get(timeout=PATIENCE) == "held"


def test_the_part_of_a_workflow_neither_waits_for_the_holder_nor_frees_its_key(url: str) -> None:
    app, build = shop(url)
    holder = app.send_task("build", ("house",), queue="nobody", unique="what")
    with working(app):
        assert chain(build.si("house"), build.s()).apply_async().get(timeout=PATIENCE) == "house"
    with pytest.raises(AlreadyQueued, match=holder.id):
        build.delay("house")


def test_a_signature_that_is_sent_alone_is_asked(url: str) -> None:
    app, build = shop(url)
    first = build.s("house").apply_async()
    with pytest.raises(AlreadyQueued, match=first.id):
        build.s("house").delay()
    app.close()


@pytest.mark.parametrize("option", [{"unique": True}, {"unique_for": 5}, {"on_duplicate": "return"}])
def test_the_options_are_refused_in_the_signatures_of_a_workflow(url: str, option: dict[str, Any]) -> None:
    app, build = shop(url)
    for flow in (
        chain(build.s("a").set(**option), build.s()),
        group(build.s("a"), build.s("b").set(**option)),
        chord([build.s("a").set(**option)], build.s()),
    ):
        with pytest.raises(InvalidOption, match="part of a workflow"):
            flow.apply_async()
    depth = app.broker.depth().get("celery")
    assert depth is None or depth.ready == 0
    app.close()


def test_a_concurrency_limit_keeps_the_members_of_a_group_apart(url: str) -> None:
    app, crowd = make(url), Crowd()

    @app.task(concurrency_limit=1, concurrency_limit_by="what")
    def build(what: str) -> str:
        crowd.enter(what)
        threading.Event().wait(0.02)
        crowd.leave(what)
        return what

    with working(app):
        result = group(build.s(what) for what in ("a", "a", "b", "a")).apply_async()
        until(result.ready, "the end of the group", PATIENCE)
    assert result.get(timeout=PATIENCE) == ["a", "a", "b", "a"]
    assert crowd.most == {"a": 1, "b": 1}
