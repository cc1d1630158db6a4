"""Are these options there, and can they have these values? Asked of every task and of every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from greenq.batches import Batch
from greenq.errors import InvalidOption
from greenq.protocol import HEADERS
from greenq.throttling import checks as throttling

__all__ = [
    "call_option_names",
    "check_call",
    "check_declared",
    "check_headers",
    "check_name",
    "listed",
    "option_names",
]

LARGEST = 1e300

# ── checks of one value ──────────────────────────────────────────────────────────────────────────────────


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a string that is not empty"


def _number(value: Any) -> bool:
    # Compared, not asked whether it is finite: that fails for integers beyond every float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _seconds(value: Any) -> str | None:
    return None if _number(value) and value >= 0 else "a number of seconds, 0 or more"


def _limit(value: Any) -> str | None:
    return None if _number(value) and value > 0 else "a number of seconds above 0"


def _count(value: Any) -> str | None:
    return (
        None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else "an integer, 0 or more"
    )


def _priority(value: Any) -> str | None:
    return None if _count(value) is None and value <= 9 else "an integer from 0 to 9"


def _queue(value: Any) -> str | None:
    fits = (
        isinstance(value, str)
        and 0 < len(value.encode(errors="surrogatepass")) <= 255
        and value.isprintable()
        and value == value.strip()
    )
    return None if fits else "a queue's name: 1 to 255 printable characters, no space around them"


def _batch(value: Any) -> str | None:
    return None if isinstance(value, Batch) else "a greenq.Batch, such as Batch(size=100, seconds=2)"


def _address(value: Any) -> str | None:
    return None if _queue(value) is None else "1 to 255 printable characters, no space around them"


def _backoff(value: Any) -> str | None:
    return (
        None if isinstance(value, bool) or _seconds(value) is None else "True, False or a number of seconds"
    )


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


def _reply_to(value: Any) -> str | None:
    return None if isinstance(value, str) else "a string"


def _names(value: Any) -> str | None:
    fits = isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value)
    return None if fits else "a list of strings"


def _signature(value: Any) -> str | None:
    fits = isinstance(value, Mapping) and isinstance(value.get("task"), str)
    return None if fits else "a signature, such as task.s(…)"


def _signatures(value: Any) -> str | None:
    fits = all(_signature(one) is None for one in listed(value))
    return None if fits else "a signature, such as task.s(…), or a list of them"


def _function(value: Any) -> str | None:
    return None if callable(value) else "a function that takes the exception and says whether to retry"


def _lost(value: Any) -> str | None:
    return None if value is True else (
        "True: greenq always gives back the message of a process that died, at most worker.max_deliveries "
        "times; set acks_late=False for a task that must never run twice"
    )  # fmt: skip


Check = Callable[[Any], str | None]

_DECLARED: dict[str, tuple[Check, bool]] = {
    "exchange": (_address, True), "routing_key": (_address, True), "batch": (_batch, True),
    "max_retries": (_count, True), "default_retry_delay": (_seconds, False),
    "autoretry_for": (_exceptions, False), "dont_autoretry_for": (_exceptions, False),
    "retry_backoff": (_backoff, False), "retry_backoff_max": (_seconds, False),
    "retry_if": (_function, False), "retry_jitter": (_flag, False), "retry_kwargs": (_mapping, False),
    "acks_late": (_flag, False), "acks_on_failure": (_flag, False),
    "acks_on_timeout": (_flag, False), "acks_on_failure_or_timeout": (_flag, False),
    "reject_on_worker_lost": (_lost, False), "ignore_result": (_flag, False),
    "store_errors_even_if_ignored": (_flag, False), "track_started": (_flag, False), "trail": (_flag, False),
    "expires": (_seconds, True), "priority": (_priority, True), "queue": (_queue, False),
    "serializer": (_text, False), "compression": (_text, True), "time_limit": (_limit, True),
    "soft_time_limit": (_limit, True), "throws": (_exceptions, False), "typing": (_flag, False),
    "typed": (_flag, False), "pydantic": (_flag, False), "pydantic_strict": (_flag, False),
    "pydantic_context": (_mapping, True), "pydantic_dump_kwargs": (_mapping, True),
    **throttling.DECLARED,
}  # fmt: skip
"""Option of a task → its check, and whether None is allowed."""

_CALL: dict[str, Check] = {
    "exchange": _address, "routing_key": _address,
    "countdown": _any_seconds, "eta": _moment, "expires": _seconds_or_moment, "queue": _queue,
    "priority": _priority, "serializer": _text, "compression": _text, "headers": _mapping, "task_id": _id,
    "retries": _count, "time_limit": _limit, "soft_time_limit": _limit, "ignore_result": _flag,
    "shadow": _text, "reply_to": _reply_to, "argsrepr": _text, "kwargsrepr": _text, "root_id": _id,
    "parent_id": _id, "group_id": _id, "group_index": _count, "add_to_parent": _flag,
    "link": _signatures, "link_error": _signatures, "chain": _signatures, "chord": _signature,
    "stamped_headers": _names, "replaced_task_nesting": _count, "route_name": _text,
    **throttling.CALL,
}  # fmt: skip
"""Option of a call → its check; None always means "not given"."""

_HOOK = "make a subclass of greenq.Task that has it as a method, and give that as base"

_LATER = {
    "exchange_type": "queues say it: queues: {mail: {exchange: e, exchange_type: topic}}",
    "delivery_mode": "every message is kept on disk where the broker can",
    "retry_on_worker_lost": "the message of a process that died is always given back",
    "backend": "all results go to results.url", "send_events": "events are not sent yet",
    "resultrepr_maxsize": "results are not shown in logs",
    "shared": "declare it with greenq.shared_task", "lazy": "tasks are registered at once",
    "on_success": _HOOK, "on_failure": _HOOK, "on_retry": _HOOK, "before_start": _HOOK,
    "after_return": _HOOK, "shadow_name": "give shadow with the call",
    "connection": "the application owns its connections", "producer": "the application owns its connections",
    "publisher": "the application owns its connections", "retry": "set broker.publish_timeout",
    "retry_policy": "set broker.publish_timeout", "Strategy": "the worker has one loop",
    "Request": "the worker has one loop", "mandatory": "an unroutable message is always an error",
    "immediate": "brokers do not support it", "delay": "use countdown",
}  # fmt: skip
"""Celery's options that greenq does not honour, and what to know instead."""


def _unknown(name: str, known: Mapping[str, Any], where: str) -> InvalidOption:
    """The error for an option that there isn't."""
    if name in _LATER:
        return InvalidOption(f"{where}: greenq does not have Celery's option {name!r}: {_LATER[name]}")
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
    return InvalidOption(f"{where}: there is no option {name!r}: {hint}")


def listed(value: Any) -> list[Any]:
    """An option that may be one thing or several, as a list of its own."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def call_option_names() -> Set[str]:
    """The options that a call can have."""
    return _CALL.keys()


def option_names() -> Set[str]:
    """The options that a task can declare."""
    return _DECLARED.keys()


def check_name(name: Any) -> str:
    """Check a task's name.

    Raises:
        InvalidOption: it can't be one.
    """
    problem = _id(name)
    if problem is not None:
        raise InvalidOption(f"a task's name must be {problem}, not {name!r:.80}")
    return str(name)


def check_declared(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a task's options.

    Parameters:
        where: which task, for the message.

    Raises:
        InvalidOption: there is no such option, or its value is wrong.
    """
    for name, value in options.items():
        if name not in _DECLARED:
            raise _unknown(name, _DECLARED, where)
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
            if name in (options.get("stamped_headers") or ()):
                given[name] = value
                continue
            raise _unknown(name, _CALL, where)
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
        raise InvalidOption(
            f"{where}: soft_time_limit ({soft:g} s) must not be above time_limit ({hard:g} s)"
        )


def check_headers(headers: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Check a call's own headers: names that the protocol has not, values that every broker can carry.

    Raises:
        InvalidOption: one of them is wrong.
    """
    for name, value in headers.items():
        if name in HEADERS or name == "compression":
            raise InvalidOption(f"{where}: the header {name!r} belongs to the protocol; choose another name")
        if not _plain(value, 8):
            raise InvalidOption(
                f"{where}: the header {name!r} must be text, a number, a flag, None, "
                f"or lists and mappings of these, not {value!r:.80}"
            )
    return headers


def _plain(value: Any, depth: int) -> bool:
    if value is None or isinstance(value, str | int | float):
        return True
    if depth == 0:
        return False
    if isinstance(value, list | tuple):
        return all(_plain(one, depth - 1) for one in value)
    if isinstance(value, dict):
        return all(isinstance(name, str) and _plain(one, depth - 1) for name, one in value.items())
    return False
