"""What a task's options say of uniqueness, rates and slots, worked out once."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenq.errors import InvalidOption
from greenq.throttling.base import Limit

__all__ = ["By", "Keys", "Rules", "Unique", "rate", "rules_of", "unique_of"]

log = logging.getLogger("greenq.throttling")

By = bool | str | Sequence[str] | Callable[..., Any]
"""What of a call counts: all of its arguments (True), some by name, or what a function makes of them."""

PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
CATCHING_UP = 0.05
"""Of a rate's period: by so much a start may make up for one that came late, and by a second at most."""


def rate(value: Any) -> tuple[float, float]:
    """Read a rate: ``"100/m"``, as Celery writes it, or a number for so many in a second.

    Returns:
        How many, in how many seconds.

    Raises:
        ValueError: it is none.
    """
    count, period = value, "s"
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smhd])\s*)?", value)
        if found is None:
            raise ValueError
        count, period = float(found[1]), found[2] or "s"
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 < count < 1e9:
        raise ValueError
    return float(count), PERIODS[period]


class Keys:
    """Makes a short text of what counts in a call; calls with the same text are the same.

    Parameters:
        task: the task's name.
        by: what counts.
        fn: the task's function, for which an argument is the same by place or name, given or by default;
            None where it is not known.

    Raises:
        InvalidOption: the function has no argument of that name.
    """

    def __init__(self, task: str, by: By, fn: Callable[..., Any] | None) -> None:
        self._task = task
        self._signature: inspect.Signature | None = None
        if fn is not None:
            try:
                self._signature = inspect.signature(fn)
            except (TypeError, ValueError):
                self._signature = None
        self._function = by if callable(by) else None
        self._names: tuple[str, ...] | None = None
        if not callable(by) and not isinstance(by, bool):
            self._names = (by,) if isinstance(by, str) else tuple(by)
            self._check(self._names)

    def _check(self, names: tuple[str, ...]) -> None:
        if self._signature is None:
            return
        parameters = self._signature.parameters
        if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return
        for name in names:
            if name not in parameters:
                raise InvalidOption(
                    f"task {self._task}: its function has no argument {name!r} to tell calls apart by: "
                    f"there {'is' if len(parameters) == 1 else 'are'} {', '.join(parameters) or 'none'}"
                )

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The text of one call; None if a function says so, and nothing holds for it.

        Raises:
            InvalidOption: the call lacks an argument that counts.
        """
        if self._function is not None:
            made = self._function(*args, **kwargs)
            return None if made is None else _digest(made)
        given = self._given(args, kwargs)
        if self._names is None:
            return _digest(given)
        for name in self._names:
            if name not in given:
                raise InvalidOption(
                    f"call of {self._task}: it is told from others by its argument {name!r}, "
                    "which must be given by name here"
                )
        return _digest([given[name] for name in self._names])

    def _given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by name, as far as names are known."""
        if self._signature is not None:
            try:
                bound = self._signature.bind(*args, **kwargs)
            except TypeError:
                return {"*": list(args), **kwargs}  # the call fails, and says why
            bound.apply_defaults()
            given = dict(bound.arguments)
            for name, parameter in self._signature.parameters.items():
                if parameter.kind is parameter.VAR_KEYWORD:
                    given.update(given.pop(name))
            return given
        return {"*": list(args), **kwargs} if args else dict(kwargs)


def _digest(value: Any) -> str:
    try:
        text = json.dumps(value, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON can't carry: a set has no order, and all else counts as its text."""
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else str(value)


@dataclass(frozen=True, slots=True)
class Unique:
    """That of the same calls one is there at a time.

    Parameters:
        keys: which are the same.
        seconds: after which another may come in any case.
        until_start: another may come once it has started, and not only once it has ended.
        returns: of another call the result is the one's; otherwise it is an error.
    """

    task: str
    keys: Keys
    seconds: float
    until_start: bool
    returns: bool

    def key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """What a call holds; None if it needs to be no only one."""
        text = self.keys.of(args, kwargs)
        return None if text is None else f"unique:{self.task}:{text}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one task.

    Parameters:
        unique: of its calls that say nothing else; None if they are not unique.
        limits: each limit without its key: its kind, what tells calls apart, and numbers.
        declared: the options that say it.
    """

    task: str
    unique: Unique | None
    limits: tuple[tuple[str, Keys | None, Limit], ...]
    declared: Mapping[str, Any]

    def limits_for(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Limit, ...]:
        """The limits of one call."""
        found = []
        for kind, keys, limit in self.limits:
            text: str | None = ""
            if keys is not None:
                try:
                    text = keys.of(args, kwargs)
                except Exception:
                    # Better all such calls share a limit than that they have none.
                    log.exception("%s: what tells calls apart for its %s failed", self.task, kind)
                if text is None:
                    continue
            found.append(Limit(f"{kind}:{self.task}:{text}", limit.slots, limit.interval, limit.tolerance))
        return tuple(found)


def unique_of(
    task: str, fn: Callable[..., Any] | None, options: Mapping[str, Any], seconds: float
) -> Unique | None:
    """What a task's or a call's checked options say of uniqueness; None if nothing.

    Parameters:
        seconds: where they don't say how long.
    """
    by = options.get("unique")
    if by is None or by is False:
        return None
    return Unique(
        task, Keys(task, by, fn), options.get("unique_for") or seconds,
        options.get("unique_until", "end") == "start", options.get("on_duplicate", "refuse") == "return",
    )  # fmt: skip


def rules_of(
    task: str, fn: Callable[..., Any] | None, options: Mapping[str, Any], seconds: float
) -> Rules | None:
    """What a task's checked options say; None if they say nothing, and its workers have nothing to look at.

    Parameters:
        fn: its function; None where no call has its arguments.
        options: those that it was declared with.
        seconds: how long a unique task holds its key, where it does not say.

    Raises:
        InvalidOption: its function lacks an argument that they name.
    """
    limits = []
    if options.get("rate_limit") is not None:
        count, period = rate(options["rate_limit"])
        tolerance = min(1.0, CATCHING_UP * period) if count > 1 else 0.0
        limit = Limit("", interval=(period + tolerance) / count, tolerance=tolerance)
        limits.append(("rate", _keys(task, fn, options.get("rate_limit_by")), limit))
    if options.get("concurrency_limit") is not None:
        by = options.get("concurrency_limit_by")
        limits.append(("slots", _keys(task, fn, by), Limit("", slots=options["concurrency_limit"])))
    if not limits and options.get("unique") is None:
        return None
    return Rules(task, unique_of(task, fn, options, seconds), tuple(limits), dict(options))


def _keys(task: str, fn: Callable[..., Any] | None, by: By | None) -> Keys | None:
    return None if by is None else Keys(task, by, fn)
