"""Logging of worker processes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenq.config.schema import LogSettings
from greenq.request import Request, current
from greenq.worker import logs

log = logging.getLogger("shop")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line_even_with_a_traceback() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(format="json"), "greenq@host", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it failed: %s", "redis://u:pa55@h/0", extra={"order": 7})
    (line,) = json_lines(stream)
    assert line["level"] == "error"
    assert line["logger"] == "shop"
    assert line["message"] == "it failed: redis://u:***@h/0"
    assert line["node"] == "greenq@host"
    assert line["order"] == 7
    assert "ValueError: two\nlines" in line["exception"]
    assert {"time", "process", "task", "id"} <= line.keys()


def test_a_line_names_the_task_that_wrote_it() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(format="json"), "greenq@host", stream)
    token = current.set(cast(Request, SimpleNamespace(task="shop.add", id="1234")))
    try:
        log.info("inside")
    finally:
        current.reset(token)
    log.info("outside")
    log.info("told", extra={"task": "shop.mail", "id": "99"})
    assert [(line["task"], line["id"]) for line in json_lines(stream)] == [
        ("shop.add", "1234"),
        (None, None),
        ("shop.mail", "99"),
    ]


def test_text_names_the_task_once() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(), "greenq@host", stream)
    log.info("began", extra={"task": "shop.add", "id": "1234"})
    log.info("shop.add 1234 ended", extra={"task": "shop.add", "id": "1234"})
    began, ended = stream.getvalue().splitlines()
    assert began.endswith("INFO shop: began [shop.add 1234]")
    assert ended.endswith("INFO shop: shop.add 1234 ended")


def test_passwords_in_text_and_tracebacks_are_masked() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(), "greenq@host", stream)
    try:
        raise OSError("amqp://u:pa55@host refused")
    except OSError:
        log.exception("broker away")
    assert "pa55" not in stream.getvalue()
    assert "amqp://u:***@host refused" in stream.getvalue()


def test_the_level_holds() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(level="warning"), "greenq@host", stream)
    log.info("quiet")
    log.warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_a_second_setup_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.setup(LogSettings(), "greenq@host", first)
    logs.setup(LogSettings(), "greenq@host", second)
    log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    colourful, refused, piped = Terminal(), Terminal(), io.StringIO()
    logs.setup(LogSettings(), "greenq@host", colourful)
    log.warning("here")
    monkeypatch.setenv("NO_COLOR", "1")
    logs.setup(LogSettings(), "greenq@host", refused)
    log.warning("here")
    monkeypatch.delenv("NO_COLOR")
    logs.setup(LogSettings(), "greenq@host", piped)
    log.warning("here")
    assert "\033[" in colourful.getvalue()
    assert "\033[" not in refused.getvalue()
    assert "\033[" not in piped.getvalue()


def test_a_value_that_json_lacks_is_written_as_text() -> None:
    stream = io.StringIO()
    logs.setup(LogSettings(format="json"), "greenq@host", stream)
    log.info("odd", extra={"thing": {1, 2}, "address": "redis://u:pa55@h"})
    (line,) = json_lines(stream)
    assert line["thing"] == "{1, 2}"
    assert line["address"] == "redis://u:***@h"
