"""The options of tasks and of calls: which there are, what they must be, and what they are by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypedDict

from greenq.errors import InvalidOption

__all__ = ["CallOptions", "DeclaredOptions", "TaskOptions", "check_call", "check_declared"]

Exceptions = tuple[type[BaseException], ...] | list[type[BaseException]] | type[BaseException]


class DeclaredOptions(TypedDict, total=False):
    """What ``@app.task(…)`` takes, beside `bind`, `name` and `base`; the manual's "Tasks" explains each."""

    max_retries: int | None
    default_retry_delay: float
    autoretry_for: Exceptions
    dont_autoretry_for: Exceptions
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_kwargs: Mapping[str, Any]
    acks_late: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    acks_on_failure_or_timeout: bool
    reject_on_worker_lost: bool
    ignore_result: bool
    store_errors_even_if_ignored: bool
    track_started: bool
    trail: bool
    expires: float | None
    priority: int | None
    queue: str
    serializer: str
    compression: str | None
    time_limit: float | None
    soft_time_limit: float | None
    throws: Exceptions
    typing: bool


class CallOptions(TypedDict, total=False):
    """What `Task.apply_async`, `GreenQ.send_task` and `Task.call(…).set` take; the manual's "Calling" explains each."""

    countdown: float | None
    eta: datetime | None
    expires: float | datetime | None
    queue: str | None
    priority: int | None
    serializer: str | None
    compression: str | None
    headers: Mapping[str, Any] | None
    task_id: str | None
    retries: int
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    shadow: str | None
    reply_to: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    add_to_parent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """A task's options once and for all: its own, else its base class's, else the configuration's.

    Parameters:
        default_retry_delay, retry_backoff_max: seconds.
        retry_backoff: seconds before the first retry, doubled each time; 0 for no backoff.
        acks_late: acknowledge after the run; otherwise before it.
        acks_on_failure, acks_on_timeout: with `acks_late`, acknowledge also after a failure, or after the hard
            limit; otherwise the message becomes a dead letter.
        store_errors_even_if_ignored: with `ignore_result`, failures are stored nevertheless.
        trail: the results of the tasks that it sends are stored with its own, as `children`.
        expires: seconds after which a call is not begun.
        queue, priority, serializer, compression: of calls that say nothing else.
        time_limit, soft_time_limit: seconds; None for no limit.
        throws: exceptions that are expected: logged without a traceback.
        typing: check arguments where the task is called.
    """

    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_backoff: float = 0.0
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    retry_kwargs: Mapping[str, Any]
    acks_late: bool = True
    acks_on_failure: bool = True
    acks_on_timeout: bool = True
    ignore_result: bool = False
    store_errors_even_if_ignored: bool = False
    track_started: bool = False
    trail: bool = True
    expires: float | None = None
    priority: int = 0
    queue: str = "celery"
    serializer: str = "json"
    compression: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    throws: tuple[type[BaseException], ...] = ()
    typing: bool = True


# ── checks of one value ──────────────────────────────────────────────────────────────────────────────────


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _seconds(value: Any) -> str | None:
    return None if _number(value) and value >= 0 else "a number of seconds, 0 or more"


def _limit(value: Any) -> str | None:
    return None if _number(value) and value > 0 else "a number of seconds above 0"


def _count(value: Any) -> str | None:
    return (
        None if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else "an integer, 0 or more"
    )


def _priority(value: Any) -> str | None:
    return None if _count(value) is None and value <= 9 else "an integer from 0 to 9"


def _queue(value: Any) -> str | None:
    fits = isinstance(value, str) and 0 < len(value.encode()) <= 255 and value.isprintable() and value == value.strip()
    return None if fits else "a queue's name: 1 to 255 printable characters, no space around them"


def _backoff(value: Any) -> str | None:
    return None if isinstance(value, bool) or _seconds(value) is None else "True, False or a number of seconds"


def _mapping(value: Any) -> str | None:
    fits = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return None if fits else "a mapping with strings as keys"


def _exceptions(value: Any) -> str | None:
    each = value if isinstance(value, list | tuple) else (value,)
    fits = all(isinstance(one, type) and issubclass(one, BaseException) for one in each)
    return None if fits else "an exception class or a tuple of them"


def _moment(value: Any) -> str | None:
    return None if isinstance(value, datetime) else "a datetime (without a zone it is UTC)"


def _seconds_or_moment(value: Any) -> str | None:
    return None if isinstance(value, datetime) or _number(value) else "a number of seconds or a datetime"


def _any_seconds(value: Any) -> str | None:
    return None if _number(value) else "a number of seconds"


def _id(value: Any) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()
    return None if fits else "a string of 1 to 255 printable characters"


def _lost(value: Any) -> str | None:
    return None if value is True else (
        "True: greenq always gives back the message of a process that died, at most worker.max_deliveries "
        "times; set acks_late=False for a task that must never run twice"
    )  # fmt: skip


Check = Callable[[Any], str | None]

_DECLARED: dict[str, tuple[Check, bool]] = {
    "max_retries": (_count, True), "default_retry_delay": (_seconds, False),
    "autoretry_for": (_exceptions, False), "dont_autoretry_for": (_exceptions, False),
    "retry_backoff": (_backoff, False), "retry_backoff_max": (_seconds, False), "retry_jitter": (_flag, False),
    "retry_kwargs": (_mapping, False), "acks_late": (_flag, False), "acks_on_failure": (_flag, False),
    "acks_on_timeout": (_flag, False), "acks_on_failure_or_timeout": (_flag, False),
    "reject_on_worker_lost": (_lost, False), "ignore_result": (_flag, False),
    "store_errors_even_if_ignored": (_flag, False), "track_started": (_flag, False), "trail": (_flag, False),
    "expires": (_seconds, True), "priority": (_priority, True), "queue": (_queue, False),
    "serializer": (_text, False), "compression": (_text, True), "time_limit": (_limit, True),
    "soft_time_limit": (_limit, True), "throws": (_exceptions, False), "typing": (_flag, False),
}  # fmt: skip
"""Option of a task → its check, and whether None is allowed."""

_CALL: dict[str, Check] = {
    "countdown": _any_seconds, "eta": _moment, "expires": _seconds_or_moment, "queue": _queue,
    "priority": _priority, "serializer": _text, "compression": _text, "headers": _mapping, "task_id": _id,
    "retries": _count, "time_limit": _limit, "soft_time_limit": _limit, "ignore_result": _flag,
    "shadow": _text, "reply_to": _text, "argsrepr": _text, "kwargsrepr": _text, "root_id": _id,
    "parent_id": _id, "group_id": _id, "group_index": _count, "add_to_parent": _flag,
}  # fmt: skip
"""Option of a call → its check; None always means "not given"."""

_LATER = {
    "rate_limit": "rates are not limited yet",
    "link": "callbacks come with workflows", "link_error": "errbacks come with workflows",
    "chain": "chains come with workflows", "chord": "chords come with workflows",
    "exchange": "exchanges come with the RabbitMQ broker; use queue",
    "routing_key": "routing keys come with the RabbitMQ broker; use queue",
    "exchange_type": "exchanges come with the RabbitMQ broker; use queue",
    "delivery_mode": "every message is kept on disk where the broker can",
    "retry_on_worker_lost": "the message of a process that died is always given back",
    "backend": "all results go to results.url", "send_events": "events are not sent yet",
    "pydantic": "arguments are not converted yet", "resultrepr_maxsize": "results are not shown in logs",
    "shared": "there is no registry shared by applications yet", "lazy": "tasks are registered at once",
    "on_success": "hooks are not called yet", "on_failure": "hooks are not called yet",
    "on_retry": "hooks are not called yet", "before_start": "hooks are not called yet",
    "after_return": "hooks are not called yet", "shadow_name": "give shadow with the call",
    "connection": "the application owns its connections", "producer": "the application owns its connections",
    "publisher": "the application owns its connections", "retry": "set broker.publish_timeout",
    "retry_policy": "set broker.publish_timeout", "stamped_headers": "stamps come with workflows",
    "replaced_task_nesting": "Task.replace comes with workflows", "Strategy": "the worker has one loop",
    "Request": "the worker has one loop", "mandatory": "an unroutable message is always an error",
    "immediate": "brokers do not support it", "delay": "use countdown",
}  # fmt: skip
"""Celery's options that greenq does not honour, and what to know instead."""


def refuse_unknown(name: str, known: Mapping[str, Any], where: str) -> InvalidOption:
    """The error for an option that there isn't."""
    if name in _LATER:
        return InvalidOption(f"{where}: greenq does not have Celery's option {name!r}: {_LATER[name]}")
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
    return InvalidOption(f"{where}: there is no option {name!r}: {hint}")


def check_declared(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a task's options.

    Parameters:
        where: which task, for the message.

    Raises:
        InvalidOption: there is no such option, or its value is wrong.
    """
    for name, value in options.items():
        if name not in _DECLARED:
            raise refuse_unknown(name, _DECLARED, where)
        check, optional = _DECLARED[name]
        if value is None and optional:
            continue
        problem = check(value)
        if problem is not None:
            raise InvalidOption(f"{where}: {name} must be {problem}, not {value!r:.80}")
    _check_limits(options.get("time_limit"), options.get("soft_time_limit"), where)
    return dict(options)


def check_call(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a call's options; those that are None are left out.

    Raises:
        InvalidOption: there is no such option, or its value is wrong.
    """
    given = {}
    for name, value in options.items():
        if name not in _CALL:
            raise refuse_unknown(name, _CALL, where)
        if value is None:
            continue
        problem = _CALL[name](value)
        if problem is not None:
            raise InvalidOption(f"{where}: {name} must be {problem}, not {value!r:.80}")
        given[name] = value
    if "eta" in given and "countdown" in given:
        raise InvalidOption(f"{where}: give eta or countdown, not both")
    _check_limits(given.get("time_limit"), given.get("soft_time_limit"), where)
    return given


def _check_limits(hard: float | None, soft: float | None, where: str) -> None:
    if hard is not None and soft is not None and soft > hard:
        raise InvalidOption(f"{where}: soft_time_limit ({soft:g} s) must not be above time_limit ({hard:g} s)")
