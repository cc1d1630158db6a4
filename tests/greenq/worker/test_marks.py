"""A task with a hard limit runs in a frame whose name says where it is told what it is."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Iterator

import pytest

from greenq import GreenQ
from greenq.protocol import TaskCall
from greenq.request import Request, current
from greenq.worker.marks import Marks
from greenq.worker.page import TEXT, Block, Page


def marks_above(frame) -> list[int]:
    found = []
    while frame is not None:
        if frame.f_code.co_name.startswith("mark "):
            found.append(int(frame.f_code.co_name.removeprefix("mark ")))
        frame = frame.f_back
    return found


@pytest.fixture
def app() -> Iterator[GreenQ]:
    app = GreenQ("shop", broker="memory://marks", results=None)

    @app.task(name="shop.look")
    def look():
        return marks_above(sys._getframe())

    @app.task(name="shop.look_again")
    async def look_again():
        await asyncio.sleep(0)
        return marks_above(sys._getframe())

    @app.task(name="shop.fail")
    def fail():
        raise ValueError("bad")

    yield app
    app.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with Page() as page:
        yield page


@pytest.fixture(autouse=True)
def outside_of_tasks() -> Iterator[None]:
    """Leave no request behind: what comes next is no task."""
    token = current.set(None)
    yield
    current.reset(token)


def begin(name: str, id: str = "an-id", **headers: object) -> None:
    current.set(Request(TaskCall((), {}, {}, {"id": id, "task": name, **headers})))


def test_the_mark_in_the_stack_leads_to_the_task(app: GreenQ, page: Page) -> None:
    run = Marks(page, app.tasks).around(app.tasks["shop.look"], 2.5)
    begin("shop.look")
    before = time.monotonic()
    (mark,) = run()
    block = page.marked(mark)
    assert block is not None
    assert before <= block.since <= time.monotonic()
    assert block == Block("an-id", "shop.look", block.since, block.since + 2.5, 2.5)


def test_a_coroutine_function_stays_one_and_is_marked_as_well(app: GreenQ, page: Page) -> None:
    run = Marks(page, app.tasks).around(app.tasks["shop.look_again"], 2.5)
    assert inspect.iscoroutinefunction(run)
    begin("shop.look_again")
    (mark,) = asyncio.run(run())
    assert page.marked(mark).name == "shop.look_again"


def test_a_calls_own_limit_comes_before_its_tasks(app: GreenQ, page: Page) -> None:
    run = Marks(page, app.tasks).around(app.tasks["shop.look"], None)
    begin("shop.look", timelimit=[7, None])
    (mark,) = run()
    assert page.marked(mark).limit == 7


@pytest.mark.parametrize(("limit", "id"), [(None, "an-id"), (2.5, "x" * (TEXT + 1))])
def test_what_has_no_limit_or_too_long_an_id_is_told_nowhere(
    app: GreenQ, page: Page, limit: float | None, id: str
) -> None:
    run = Marks(page, app.tasks).around(app.tasks["shop.look"], limit)
    begin("shop.look", id)
    (mark,) = run()
    assert page.marked(mark) is None


def test_marks_are_used_again_also_after_a_failure(app: GreenQ, page: Page) -> None:
    marks = Marks(page, app.tasks)
    look, fail = marks.around(app.tasks["shop.look"], 1.0), marks.around(app.tasks["shop.fail"], 1.0)
    for _ in range(3):
        begin("shop.fail")
        with pytest.raises(ValueError, match="bad"):
            fail()
        begin("shop.look")
        assert look() == [0]


def test_calls_that_run_at_once_have_marks_of_their_own(app: GreenQ, page: Page) -> None:
    run = Marks(page, app.tasks).around(app.tasks["shop.look_again"], 1.0)

    async def many():
        return await asyncio.gather(*(run() for _ in range(5)))

    begin("shop.look_again")
    assert sorted(asyncio.run(many())) == [[0], [1], [2], [3], [4]]
