"""Celery's task messages: version 2 is written and read, version 1 is read.

Version 2 has everything about a call in the headers and ``(args, kwargs, embed)`` in the body; version 1 has
all of it in the body. `read` turns either into one `TaskCall`, or raises `MessageError`: whatever arrives
from outside is checked here, once, and nothing after it needs to.

Source: celery/app/amqp.py (``as_task_v1``, ``as_task_v2``) and the manual's "Message Protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from greenq.codecs import Codecs
from greenq.errors import MessageError
from greenq.message import Message
from greenq.shortrepr import shortrepr

__all__ = [
    "HEADERS", "Key", "TaskCall", "is_storable", "key_of", "moment", "name_of", "read", "template", "upgraded"
]  # fmt: skip

Key = tuple[str, str, int]
"""Queue, id and number of the retry: names one call of a task."""

HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": None,
    "id": None,
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": (None, None),
    "root_id": None,
    "parent_id": None,
    "argsrepr": "()",
    "kwargsrepr": "{}",
    "origin": None,
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
"""Every header of protocol 2 in Celery's order, with the value of a plain call."""

EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
"""The third part of a plain call's body. Shared: never changed."""

LONGEST = 1e10
"""Seconds, some three hundred years: a limit beyond it is a mistake (also: no number a clock can take)."""
_TEXT = ("shadow", "group", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin")
_COUNTS = ("retries", "replaced_task_nesting")
_V1_KEYS = ("task", "id", "group", "group_index", "retries", "eta", "expires", "timelimit")


@dataclass(slots=True)
class TaskCall:
    """One call, decoded and checked.

    Parameters:
        args, kwargs: what the function gets.
        embed: ``callbacks``, ``errbacks``, ``chain`` and ``chord``: what follows the call.
        headers: protocol 2's, made from the body where the message is of version 1.
        eta, expires: seconds since the epoch before which, and after which, it must not run.
        time_limit, soft_time_limit: seconds, if the caller gave them.
    """

    args: list[Any] | tuple[Any, ...]
    kwargs: dict[str, Any]
    embed: dict[str, Any]
    headers: dict[str, Any]
    eta: float | None = None
    expires: float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────


def template(task: str, origin: str, ignore_result: bool | None) -> dict[str, Any]:
    """Headers that every call of one task shares; each call copies them and fills in its own.

    Parameters:
        origin: who sends, as ``gen<process id>@<host>``.
        ignore_result: None if the sender does not know the task.
    """
    return HEADERS | {"task": task, "origin": origin, "ignore_result": ignore_result}


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def key_of(message: Message) -> Key | None:
    """What a redelivery is recognised by; a retry has the same id but another number."""
    id = message.headers.get("id")
    if not isinstance(id, str) or not id:
        return None
    retries = message.headers.get("retries")
    return message.queue, id, retries if isinstance(retries, int) else 0


def name_of(message: Message) -> str | None:
    """The task's name without decoding the body; None for version 1, which has it inside."""
    headers = message.headers
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) else None


def read(message: Message, codecs: Codecs) -> TaskCall:
    """Decode and check one message.

    Raises:
        MessageError: it is not a task message, or one of its parts has the wrong shape.
        DecodeError: its body cannot be decoded, is refused by `accept`, or is too large.
    """
    headers = message.headers
    if type(headers) is not dict:
        raise MessageError(f"the headers are {_kind(headers)}; they must be a mapping")
    body = codecs.decode(
        message.body, message.content_type, message.content_encoding, headers.get("compression")
    )
    if "task" in headers:
        if type(body) not in (list, tuple) or len(body) != 3:
            raise MessageError(
                f"the body is {_kind(body)}; protocol 2 needs a list of args, kwargs and embed"
            )
        args, kwargs, embed = body
    else:
        headers, args, kwargs, embed = _upgrade(headers, body)
    if type(args) is not list and type(args) is not tuple:
        raise MessageError(f"args is {_kind(args)}; it must be a list")
    if type(kwargs) is not dict:
        raise MessageError(f"kwargs is {_kind(kwargs)}; it must be a mapping")
    for name in kwargs:
        if type(name) is not str:
            raise MessageError(f"kwargs has the key {shortrepr(name, 80)}; every key must be a string")
    if embed == EMBED and type(embed) is dict:
        embed = EMBED  # the very same: that nothing follows is then seen at a glance
    else:
        _check_embed(embed)
    call = TaskCall(args, kwargs, embed, headers)
    _check_headers(call, headers)
    return call


def upgraded(message: Message, codecs: Codecs) -> Message:
    """A message of version 1 as one of 2, whose headers say whose it is and whose next try may go anywhere.

    Raises:
        MessageError, DecodeError: see `read`.
        EncodeError: what its body says cannot be said in version 2.
    """
    call = read(message, codecs)
    body = codecs.encode((call.args, call.kwargs, call.embed), codecs.serializer_of(message.content_type))
    headers = call.headers
    headers.pop("compression", None)
    return replace(message, headers=headers, body=body.body, content_encoding=body.content_encoding)


def _upgrade(headers: dict[str, Any], body: Any) -> tuple[dict[str, Any], Any, Any, dict[str, Any]]:
    """Make version 2 of a version 1 body."""
    if type(body) is not dict or "task" not in body:
        raise MessageError(
            f"there is no header 'task', and the body is {_kind(body)} without the key 'task': "
            "not a task message of protocol 2 or 1"
        )
    made = HEADERS | {"lang": "py"} | headers
    for key in _V1_KEYS:
        if key in body:
            made[key] = body[key]
    if made["group"] is None:
        made["group"] = body.get("taskset")
    made["root_id"] = made["root_id"] or made["id"]
    made["argsrepr"] = shortrepr(body.get("args") or ())
    made["kwargsrepr"] = shortrepr(body.get("kwargs") or {})
    made["ignore_result"] = headers.get("ignore_result")
    embed = {key: body.get(key) for key in EMBED}
    kwargs = body.get("kwargs")
    args = body.get("args")
    return made, () if args is None else args, {} if kwargs is None else kwargs, embed


def _check_embed(embed: Any) -> None:
    if type(embed) is not dict:
        raise MessageError(f"the body's third part is {_kind(embed)}; it must be a mapping")
    for key in ("callbacks", "errbacks", "chain"):
        calls = embed.get(key)
        if calls is None:
            continue
        if type(calls) not in (list, tuple):
            raise MessageError(f"{key} is {_kind(calls)}; it must be a list of signatures")
        for call in calls:
            _check_signature(key, call)
    if embed.get("chord") is not None:
        _check_signature("chord", embed["chord"])


def _check_signature(key: str, call: Any) -> None:
    if not isinstance(call, dict) or not isinstance(call.get("task"), str):
        raise MessageError(f"{key} holds {_kind(call)} where a signature with a 'task' must be")


def _check_headers(call: TaskCall, headers: dict[str, Any]) -> None:
    for key in ("task", "id"):
        value = headers.get(key)
        if type(value) is not str or not value:
            raise MessageError(f"the header {key!r} is {_kind(value)}; it must be a string that is not empty")
        if not value.isprintable() and not is_storable(value):
            # No store could keep, or find again, a result of that name.
            raise MessageError(f"the header {key!r} is {value!a:.80}; it must be valid Unicode without NUL")
    for key in _COUNTS:
        value = headers.get(key)
        if value is not None and (type(value) is not int or value < 0):
            raise MessageError(
                f"the header {key!r} is {shortrepr(value, 80)}; it must be an integer of 0 or more"
            )
    for key in _TEXT:
        value = headers.get(key)
        if value is not None and type(value) is not str:
            raise MessageError(f"the header {key!r} is {_kind(value)}; it must be a string")
    group = headers.get("group")
    if group and not group.isprintable() and not is_storable(group):
        # Run, it could never be counted as a member.
        raise MessageError(f"the header 'group' is {group!a:.80}; it must be valid Unicode without NUL")
    if headers.get("eta") is not None:
        call.eta = moment("eta", headers["eta"])
    if headers.get("expires") is not None:
        call.expires = moment("expires", headers["expires"])
    limits = headers.get("timelimit")
    if limits is not None:
        if type(limits) not in (list, tuple) or len(limits) != 2:
            raise MessageError(
                f"the header 'timelimit' is {shortrepr(limits, 80)}; it must be [hard, soft] in seconds"
            )
        hard, soft = limits
        if hard is not None:
            # Most tasks have one: what is plainly right is taken without a call.
            plain = type(hard) in (int, float) and 0 < hard < LONGEST
            call.time_limit = float(hard) if plain else _limit(hard)
        if soft is not None:
            call.soft_time_limit = _limit(soft)
    if headers.get("stamps") or headers.get("stamped_headers"):
        _check_stamps(headers)
    ignore = headers.get("ignore_result")
    if ignore is not None and type(ignore) is not bool:
        raise MessageError(f"the header 'ignore_result' is {_kind(ignore)}; it must be true or false")
    index = headers.get("group_index")
    if index is not None and type(index) is not int:
        raise MessageError(f"the header 'group_index' is {_kind(index)}; it must be an integer")


def _check_stamps(headers: Mapping[str, Any]) -> None:
    if not isinstance(headers.get("stamps") or {}, dict):
        raise MessageError(f"the header 'stamps' is {_kind(headers['stamps'])}; it must be a mapping")
    names = headers.get("stamped_headers") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise MessageError(f"the header 'stamped_headers' is {_kind(names)}; it must be a list of strings")


def is_storable(id: str) -> bool:
    """Whether a result can be stored under this id: it is valid Unicode and has no NUL."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in id


def _limit(value: Any) -> float | None:
    if type(value) not in (int, float) or not 0 <= value < LONGEST:
        raise MessageError(
            f"the header 'timelimit' holds {shortrepr(value, 80)}; it must hold seconds above 0"
        )
    # Celery's 0 means no limit.
    return float(value) or None


def moment(key: str, text: Any) -> float:
    """Read a point in time as Celery writes it.

    Parameters:
        key: which header it is, for the message.
        text: ISO 8601; without a zone it is UTC.

    Returns:
        Seconds since the epoch.

    Raises:
        MessageError: it is not one.
    """
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise MessageError(
            f"the header {key!r} is {shortrepr(text, 80)}; it must be a time such as "
            "2030-01-31T12:00:00+00:00"
        ) from None


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"
