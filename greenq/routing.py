"""Where calls go: routes by name, pattern or function, from YAML or as Celery writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from greenq.config.schema import Route
from greenq.errors import AppError, InvalidOption
from greenq.importing import symbol
from greenq.optionchecks import check_call

__all__ = ["Router", "Rule", "is_plain", "rules_of"]

DESTINATION = ("queue", "exchange", "routing_key")
"""The options that say where a call goes; whoever names one of them names them all."""
_YAML = ("queue", "exchange", "routing_key", "priority", "serializer", "compression")


@dataclass(frozen=True, slots=True)
class Rule:
    """One route.

    Parameters:
        fits: whether it is about a task of this name; of a function it always is.
        options: of the calls that it is about.
        ask: called with name, args, kwargs and options of each call, and the task; options, a queue or None.
    """

    fits: Callable[[str], bool]
    options: Mapping[str, Any]
    ask: Callable[..., Any] | None = None


class Router:
    """Looks routes up; the first that says something counts.

    Parameters:
        rules: the code's, which come first.
        routes: the configuration's.
        find: the task of a name, or None, for functions that want it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        routes: Sequence[Route],
        find: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._rules = (*rules, *map(_of_settings, routes))
        self._find = find

    def about(self, task: str) -> tuple[Mapping[str, Any], tuple[Rule, ...]]:
        """What holds for all calls of a task, and the functions that are asked for each of them first.

        Raises:
            InvalidOption: a route gives options that calls do not have.
        """
        asked: list[Rule] = []
        for rule in self._rules:
            if rule.ask is not None:
                asked.append(rule)
            elif rule.fits(task):
                return rule.options, tuple(asked)
        return {}, tuple(asked)

    def ask(
        self, asked: Iterable[Rule], task: str, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What the functions say about one call; empty if they say nothing.

        Raises:
            InvalidOption: an answer is neither options, nor the name of a queue, nor None.
            Exception: what a function raises.
        """
        for rule in asked:
            assert rule.ask is not None, "only functions are asked"
            answer = rule.ask(task, args or (), kwargs or {}, dict(options), task=self._find(task))
            if answer is not None:
                return _options(answer, f"route of {task} by {_name(rule.ask)}")
        return {}


def is_plain(routes: Any) -> bool:
    """Whether routes given in code are written as in YAML; else they are Celery's, for `rules_of`."""
    return isinstance(routes, list | tuple) and all(
        isinstance(one, Mapping) and not {"match", "function"}.isdisjoint(one) for one in routes
    )


def rules_of(routes: Any) -> list[Rule]:
    """Read routes as Celery's ``task_routes`` has them.

    Parameters:
        routes: a mapping of patterns to options or queues, a list of such pairs, a function or its dotted
            name, or a list of all these; entries written as in YAML may stand among them.

    Raises:
        InvalidOption: it is none of these.

    Source: celery/app/routes.py, ``prepare`` and ``MapRoute``.
    """
    if routes is None:
        return []
    if isinstance(routes, list | tuple) and not _is_pair(routes):
        # A list is of routers; one made of pairs only is a router by itself.
        if routes and all(_is_pair(one) for one in routes):
            return _of_pairs(routes)
        return [rule for one in routes for rule in _of_router(one)]
    return _of_router(routes)


def _of_router(router: Any) -> list[Rule]:
    if isinstance(router, Mapping):
        if is_plain([router]):
            return [_of_plain(router)]
        return _of_pairs(router.items())
    if isinstance(router, list | tuple):
        return _of_pairs([router] if _is_pair(router) else router)
    if isinstance(router, str):
        return [Rule(_always, {}, _Named(router))]
    asked = getattr(router, "route_for_task", None)
    if asked is not None:
        return [Rule(_always, {}, partial(_ask_class, asked))]
    if callable(router):
        return [Rule(_always, {}, router)]
    raise InvalidOption(f"routes: {router!r:.80} is no route: write a mapping, pairs, or a function")


def _of_pairs(pairs: Iterable[Any]) -> list[Rule]:
    """Exact names go before patterns, as with Celery."""
    exact: list[Rule] = []
    patterns: list[Rule] = []
    for pair in pairs:
        if not _is_pair(pair):
            raise InvalidOption(f"routes: {pair!r:.80} is no pair of a pattern and its options")
        match, options = pair
        rule = Rule(_fits(match), _options(options, f"route of {match!s:.80}"))
        (exact if isinstance(match, str) and not _is_pattern(match) else patterns).append(rule)
    return exact + patterns


def _of_plain(route: Mapping[str, Any]) -> Rule:
    """An entry as YAML has it, among others that are Celery's."""
    rest = dict(route)
    match, function = rest.pop("match", None), rest.pop("function", None)
    if function is not None:
        return _of_router(function)[0]
    return Rule(_fits(match), _options(rest, f"route of {match!s:.80}"))


def _of_settings(route: Route) -> Rule:
    if route.function is not None:
        return Rule(_always, {}, _Named(route.function))
    options = {name: getattr(route, name) for name in _YAML if getattr(route, name) is not None}
    return Rule(_fits(route.match), options)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str | re.Pattern)
        and isinstance(value[1], Mapping | str)
    )


def _is_pattern(match: str) -> bool:
    return match.startswith("re:") or not {"*", "?"}.isdisjoint(match)


def _fits(match: Any) -> Callable[[str], bool]:
    if isinstance(match, re.Pattern):
        return lambda name: match.match(name) is not None
    if not isinstance(match, str):
        raise InvalidOption(f"routes: {match!r:.80} is no pattern: write a string or a compiled expression")
    if match.startswith("re:"):
        try:
            return _fits(re.compile(match.removeprefix("re:")))
        except re.error as error:
            raise InvalidOption(f"routes: {match!r:.80} cannot be read: {error}") from None
    return lambda name: fnmatchcase(name, match)


def _options(route: Any, where: str) -> dict[str, Any]:
    if isinstance(route, str):
        return check_call({"queue": route}, where)
    if not isinstance(route, Mapping):
        raise InvalidOption(f"{where}: a route is a queue's name or a mapping of options, not {route!r:.80}")
    return check_call(route, where)


def _always(name: str) -> bool:
    return True


def _ask_class(asked: Callable[..., Any], name: str, args: Any, kwargs: Any, options: Any, task: Any) -> Any:
    """Celery's older router classes are asked without options."""
    return asked(name, args, kwargs)


def _name(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__qualname__", None) or fn)


class _Named:
    """A function that is named, and imported when it is first asked."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._fn: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fn is None:
            found = symbol(self._name)
            if isinstance(found, type):
                found = found()
            rules = _of_router(found) if callable(found) or hasattr(found, "route_for_task") else []
            if not rules or rules[0].ask is None:
                raise AppError(f"routes: {self._name} is no function that says where a call goes")
            self._fn = rules[0].ask
        return self._fn(*args, **kwargs)

    def __repr__(self) -> str:
        return self._name
