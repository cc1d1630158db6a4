"""What a worker prints when it starts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from greenq.config import Configuration, load
from greenq.worker.banner import banner


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def configuration(tmp_path: Path) -> Configuration:
    file = tmp_path / "greenq.yaml"
    file.write_text(
        "broker: {url: 'sqlite:////srv/greenq.db'}\n"
        "results: {url: 'redis://user:pa55@host/1', expires: 2d}\n"
        "worker: {concurrency: 1000}\n"
        "tasks: {time_limit: 60s, soft_time_limit: 50s}\n"
    )
    return load(
        file,
        environ={"GREENQ_WORKER_QUEUES": "mail,celery"},
        overrides={"worker.pool": ("threads", "--pool"), "app": ("shop.tasks", "--app")},
    )


def test_it_says_what_was_resolved_and_where_it_came_from(tmp_path: Path) -> None:
    text = banner(configuration(tmp_path), "shop", 12, "greenq@host", "1.2.3", 1000, io.StringIO())
    lines = {line.split()[0]: line for line in text.splitlines()}
    file = tmp_path / "greenq.yaml"
    assert "1.2.3" in lines["greenq"]
    assert "greenq@host" in lines["greenq"]
    assert "shop, 12 tasks" in lines["app"]
    assert "(--app)" in lines["app"]
    assert f"sqlite:////srv/greenq.db  ({file}:1)" in lines["broker"]
    assert "kept for 2d" in lines["results"]
    assert f"threads, 1,000 at once  (--pool, {file}:3)" in lines["pool"]
    assert "mail, celery  (GREENQ_WORKER_QUEUES)" in lines["queues"]
    assert "soft 50s, hard 60s" in lines["limits"] or "soft 50s, hard 1m" in lines["limits"]
    assert str(file) in lines["config"]


def test_it_hides_passwords(tmp_path: Path) -> None:
    text = banner(configuration(tmp_path), "shop", 1, "greenq@host", "1.2.3", 100, io.StringIO())
    assert "pa55" not in text
    assert "redis://user:***@host/1" in text


def test_it_is_plain_unless_a_terminal_wants_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configuration(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\033[" in banner(found, "shop", 1, "greenq@host", "1.2.3", 100, Terminal())
    assert "\033[" not in banner(found, "shop", 1, "greenq@host", "1.2.3", 100, io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in banner(found, "shop", 1, "greenq@host", "1.2.3", 100, Terminal())


def test_the_defaults_need_no_origins() -> None:
    text = banner(load(discover=False, environ={}), "shop", 0, "greenq@host", "1.2.3", 100, io.StringIO())
    assert "(" not in text
    assert "no file" in text
    assert "none" in text


def test_it_says_when_processes_are_replaced(tmp_path: Path) -> None:
    limits = {"worker.max_tasks": 5000, "worker.max_age": "12h", "worker.max_memory": "1GiB"}
    found = load(None, environ={}, overrides={key: (value, "here") for key, value in limits.items()})
    text = banner(found, "shop", 1, "greenq@host", "1.2.3", 100, io.StringIO())
    assert "a new process after 5,000 tasks or after 12h or beyond 1GiB" in text
