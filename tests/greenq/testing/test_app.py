"""What users test their tasks with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, Task
from greenq.errors import ConfigError
from greenq.testing.app import eager, in_memory, working


def make(tmp_path: Path) -> GreenQ:
    app = GreenQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", results=f"sqlite:///{tmp_path}/shop.db")

    @app.task(bind=True, name="count", max_retries=3, time_limit=60)
    def count(self: Task[..., Any], upto: int) -> int:
        if self.request.retries < upto:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    return app


def test_what_is_sent_stays_in_memory_and_the_application_is_as_before(tmp_path: Path) -> None:
    app = make(tmp_path)
    before = app.settings
    with in_memory(app, tasks__queue="tests"):
        app.tasks["count"].delay(1)
        assert app.broker.depth()["tests"].ready == 1
    with in_memory(app):
        assert "tests" not in app.broker.depth()
    assert app.settings == before
    assert list(tmp_path.iterdir()) == []


def test_eager_tasks_run_where_they_are_called(tmp_path: Path) -> None:
    app = make(tmp_path)
    with eager(app):
        assert app.tasks["count"].delay(2).get() == 2
        with eager(app):
            assert app.tasks["count"].delay(1).get() == 1
        assert app.settings.tasks.eager
    assert not app.settings.tasks.eager


def test_a_worker_runs_them_as_a_real_one_would(tmp_path: Path) -> None:
    app = make(tmp_path)
    before = threading.active_count()
    with working(app, concurrency=2) as worker:
        results = app.send_many(app.tasks["count"].call(n % 3) for n in range(20))
        assert app.wait(results, timeout=60) == [n % 3 for n in range(20)]
        assert worker.pool.capacity == 2
    assert app.tasks["count"].options.time_limit == 60
    assert threading.active_count() <= before + 2


def test_a_wrong_setting_says_where_it_was_given(tmp_path: Path) -> None:
    app = make(tmp_path)
    with (
        pytest.raises(ConfigError, match=r"greenq\.testing.*sreializer"),
        in_memory(app, tasks__sreializer="x"),
    ):
        pass
    assert app.settings.broker.url.startswith("sqlite")


def test_it_is_restored_after_a_failed_test(tmp_path: Path) -> None:
    app = make(tmp_path)
    with pytest.raises(ZeroDivisionError), eager(app):
        _ = 1 / 0
    assert app.settings.broker.url.startswith("sqlite")
