"""Exceptions that travel, and names that must not become code."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from greenq.errors import RemoteError, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLost
from greenq.failures import RemoteTraceback, describe, rebuild


class Outer:
    class Inner(Exception):
        """Found by its qualified name."""


class Particular(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}", code)


class Vain(Exception):
    def __init__(self) -> None:
        raise RuntimeError("never made")


def test_an_exception_travels() -> None:
    for error in (ValueError("a", 1), KeyError(), Outer.Inner("x"), OSError(2, "no such file")):
        back = rebuild(describe(error))
        assert (type(back), back.args) == (type(error), error.args)
        assert back.__cause__ is None


def test_a_constructor_that_wants_something_else_is_gone_round() -> None:
    back = rebuild(describe(Particular(code=5)))
    assert isinstance(back, Particular)
    assert back.args == ("code 5", 5)
    assert isinstance(rebuild({"exc_type": "Vain", "exc_message": [], "exc_module": __name__}), Vain)


def test_celerys_own_exceptions_become_greenqs() -> None:
    record = {"exc_type": "SoftTimeLimitExceeded", "exc_message": [5], "exc_module": "billiard.exceptions"}
    assert isinstance(rebuild(record), SoftTimeLimitExceeded)
    record["exc_type"] = "TimeLimitExceeded"
    assert isinstance(rebuild(record), TimeLimitExceeded)


def test_what_befalls_a_task_is_stored_under_celerys_names() -> None:
    for error, name in (
        (SoftTimeLimitExceeded(), "SoftTimeLimitExceeded"),
        (WorkerLost("x"), "WorkerLostError"),
    ):
        record = describe(error)
        assert record == {
            "exc_type": name, "exc_message": list(error.args), "exc_module": "billiard.exceptions"
        }  # fmt: skip
        back = rebuild(record)
        assert (type(back), back.args) == (type(error), error.args)


def test_the_remote_traceback_is_shown_as_the_cause() -> None:
    error = rebuild(describe(ValueError("x")), "Traceback (most recent call last):\n  there\n")
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "there" in str(error.__cause__)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("builtins", "eval"), ("builtins", "print"), ("subprocess", "Popen"),
        ("os", "environ"), ("builtins", "SystemExit"), ("builtins", "KeyboardInterrupt"),
        ("builtins", "object"),
        ("nowhere", "Error"), ("os", "path.nothing"), (None, "ValueError"), (5, "ValueError"), ("", ""),
        ("os", "__class__"), ("sys", "modules"), ("greenq.errors", "__name__"),
    ],
)  # fmt: skip
def test_nothing_but_an_exception_is_ever_made(module: Any, name: str) -> None:
    error = rebuild({"exc_type": name, "exc_message": ["touch /tmp/owned"], "exc_module": module})
    assert type(error) is RemoteError


def test_nothing_is_imported() -> None:
    name = "xml.dom.minidom"
    had = sys.modules.pop(name, None)
    try:
        assert isinstance(rebuild({"exc_type": "X", "exc_message": [], "exc_module": name}), RemoteError)
        assert name not in sys.modules
    finally:
        if had is not None:
            sys.modules[name] = had


@pytest.mark.parametrize("record", [None, "text", 5, [], {}, {"exc_type": 5}, {"exc_type": "X"}])
def test_a_record_that_is_none_has_a_stand_in(record: Any) -> None:
    assert isinstance(rebuild(record), RemoteError)


def test_a_pickled_exception_is_taken_as_it_is() -> None:
    error = ValueError("x")
    assert rebuild(error) is error
