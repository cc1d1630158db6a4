"""The duty that names what blocks a pool, with a pool that breathes as the test wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from greenq.message import Delivery, Message
from greenq.worker.consumer import Run
from greenq.worker.duties.blocked import Blocked
from greenq.worker.limits import warn_of_untold
from greenq.worker.page import Page
from pools import native
from pools.base import Blocking, Call, Features
from tests.waiting import until


class Pool:
    """Breathes, or not."""

    features = Features(interrupt=True, kill=True)

    def __init__(self) -> None:
        self.silent = 0.0
        self.abandoned = False
        message = Message("celery", {"id": "an-id", "task": "shop.endless"}, b"", "json", "utf-8")
        self.call: Call | None = Call(len, (), None, Run(Delivery(message, "celery", None), None))
        self.call.started = 10.0
        self.thread = threading.get_native_id()

    def breathed(self) -> float:
        return self.silent

    def blocking(self) -> Blocking:
        return Blocking(self.call, ['  File "shop.py", line 1, in endless'], self.thread, self.abandoned)


@pytest.fixture
def page() -> Iterator[Page]:
    with Page() as page:
        yield page


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def duty(pool: Pool, page: Page, caplog: pytest.LogCaptureFixture) -> Iterator[Blocked]:
    caplog.set_level(logging.WARNING)
    duty = Blocked(pool, lambda delivery: ("shop.endless", delivery.message.headers["id"]), page)
    page.show_stack_at = lambda signum: None  # the tests' own process keeps its signals
    duty.start()
    yield duty
    duty.stop()
    assert (page.beat, page.breathed, page.block) == (0.0, 0.0, None)


def compute(condition) -> None:
    """Wait for it as a task waits that computes: awake."""
    until(lambda: condition() or sum(range(20_000)) < 0)


def test_nothing_runs_before_the_supervisor_can_know_who_beats(
    pool: Pool, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_late(run, name):
        def late() -> None:
            time.sleep(0.3)
            run()

        return native.start(late, name)

    monkeypatch.setattr("greenq.worker.duties.blocked.start", start_late)
    duty = Blocked(pool, lambda _: ("", ""), page)
    page.show_stack_at = lambda signum: None
    duty.start()
    assert page.watcher
    duty.stop()


def test_a_pool_that_breathes_is_never_talked_of(
    duty: Blocked, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    first = page.beat
    until(lambda: page.beat > first + 1.0)
    assert page.breathed > first
    assert page.watcher
    assert caplog.text == ""


def test_what_blocks_is_named_once_and_its_end_is_told(
    duty: Blocked, pool: Pool, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    pool.call.tag.hard = 5
    pool.silent = 0.7
    compute(lambda: page.block)
    assert (page.block.id, page.block.name) == ("an-id", "shop.endless")
    assert (page.block.deadline, page.block.limit) == (15.0, 5.0)
    seen = page.beat
    compute(lambda: page.beat > seen + 0.5)
    pool.silent = 0.0
    until(lambda: page.block is None)
    until(lambda: "let others run again" in caplog.text)
    assert caplog.text.count("shop.endless[an-id] has kept others from running") == 1
    assert "in endless" in caplog.text


def test_a_task_is_known_also_after_it_was_given_up(
    duty: Blocked, pool: Pool, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    pool.call.tag.hard = 5
    pool.silent = 0.7
    compute(lambda: page.block)
    pool.call = None
    seen = page.beat
    compute(lambda: page.beat > seen + 0.5)
    assert page.block.id == "an-id"


def test_a_coroutine_that_goes_on_after_its_end_has_no_time_left(
    duty: Blocked, pool: Pool, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    pool.call, pool.abandoned, pool.silent = None, True, 0.7
    compute(lambda: page.block)
    assert page.block.id == ""
    assert 0.0 < page.block.deadline <= page.beat


def test_what_belongs_to_no_task_is_named_by_its_stack_and_has_no_deadline(
    duty: Blocked, pool: Pool, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    pool.call, pool.silent = None, 0.7
    compute(lambda: page.block)
    assert page.block.deadline == 0.0
    until(lambda: "something that is no task's own code" in caplog.text)


class Limited:
    """As much of a handler as the warning looks at."""

    class task:
        name = "shop.endless"

    time_limit = 3.0
    acks_late = True


@pytest.mark.parametrize(
    ("told", "features", "warned"),
    [
        (False, Features(interrupt=True, kill=True), True),
        (True, Features(interrupt=True, kill=True), False),
        (False, Features(interrupt=True, kill=True, isolated=True), False),
        (False, Features(interrupt=True, kill=False), False),
    ],
)
def test_where_an_end_can_be_recorded_nowhere_the_start_says_so(
    told: bool, features: Features, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_untold(features, told, [Limited()])
    assert ("shop.endless" in caplog.text) is warned
