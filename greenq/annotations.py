"""Options that tasks get from outside their decorators, by name, pattern or function."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from greenq.config.mistakes import Wrong
from greenq.config.units import read_seconds
from greenq.errors import AppError, InvalidOption
from greenq.importing import symbol
from greenq.optionchecks import check_declared, option_names

__all__ = ["Annotations", "is_plain"]

SECONDS = frozenset({"default_retry_delay", "retry_backoff_max", "expires", "time_limit", "soft_time_limit"})
EXCEPTIONS = frozenset({"autoretry_for", "dont_autoretry_for", "throws"})
Annotator = Callable[[Any], Mapping[str, Any] | None]


def is_plain(given: Any) -> bool:
    """Whether annotations given in code are a mapping as in YAML; else they are for `Annotations` alone."""
    if not isinstance(given, Mapping):
        return False
    entries = [options for options in given.values() if isinstance(options, Mapping)]
    return not any(callable(value) or isinstance(value, tuple) for o in entries for value in o.values())


class Annotations:
    """What tasks get beside, or instead of, what their decorators say.

    What is about all tasks goes first, then patterns, then the task's own name, then the code's functions:
    each replaces what came before it.

    Parameters:
        named: options by task name or pattern.
        further: the code's: more such mappings, functions of a task, objects with a method `annotate`.

    Raises:
        InvalidOption: tasks have no such option, or one of `further` is none of these.
    """

    def __init__(self, named: Mapping[str, Any], further: Any = None) -> None:
        self._named: list[tuple[str, Mapping[str, Any]]] = []
        self._asked: list[Annotator] = []
        self._add(named)
        for one in _each(further):
            if isinstance(one, Mapping):
                self._add(one)
            else:
                self._asked.append(_annotator(one))
        self._named.sort(key=lambda entry: 0 if entry[0] == "*" else 1 if _is_pattern(entry[0]) else 2)

    def _add(self, named: Mapping[str, Any]) -> None:
        for match, options in named.items():
            where = f"annotations of {match!s:.80}"
            if not isinstance(match, str) or not isinstance(options, Mapping):
                raise InvalidOption(f"{where}: write options by name, such as {{time_limit: 30s}}")
            for name in options:
                if name not in option_names():
                    check_declared({name: None}, where)
            self._named.append((match, options))

    def of(self, name: str, task: Any) -> dict[str, Any]:
        """The options that a task gets.

        Raises:
            InvalidOption: there is no such option, or its value is wrong.
        """
        found: dict[str, Any] = {}
        for match, options in self._named:
            if fnmatchcase(name, match):
                found |= _checked(options, f"annotations of {match}")
        for ask in self._asked:
            answer = ask(task)
            if answer:
                found |= _checked(answer, f"annotations of {name}")
        return found


def _each(given: Any) -> Iterable[Any]:
    if given is None:
        return ()
    return given if isinstance(given, list | tuple) else (given,)


def _annotator(given: Any) -> Annotator:
    if isinstance(given, str):
        given = symbol(given)
    if isinstance(given, type):
        given = given()
    method = getattr(given, "annotate", None)
    if method is not None:
        return method  # type: ignore[no-any-return]
    if callable(given):
        return given  # type: ignore[no-any-return]
    raise InvalidOption(f"annotations: {given!r:.80} is no mapping, function or object with annotate(task)")


def _is_pattern(match: str) -> bool:
    return not {"*", "?", "["}.isdisjoint(match)


def _checked(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    return check_declared({name: _read(name, value, where) for name, value in options.items()}, where)


def _read(name: str, value: Any, where: str) -> Any:
    """What YAML can only say as text: times with their unit, and exceptions by name."""
    if name in SECONDS and isinstance(value, str):
        try:
            return read_seconds(value)
        except Wrong as wrong:
            raise InvalidOption(f"{where}: {name} {wrong.what}, not {value!r:.80}") from None
    if name in EXCEPTIONS:
        each = value if isinstance(value, list | tuple) else [value]
        return tuple(_exception(one, f"{where}: {name}") for one in each)
    return value


def _exception(given: Any, where: str) -> Any:
    if not isinstance(given, str):
        return given
    found = getattr(builtins, given, None)
    if found is not None:
        return found
    try:
        return symbol(given)
    except AppError as error:
        raise InvalidOption(f"{where}: {error}") from None
