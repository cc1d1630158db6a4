"""Turn one given value into the type of its setting, or say what to write instead."""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from greenq.config.given import Given
from greenq.config.keys import Key
from greenq.config.mistakes import Wrong
from greenq.config.suggestions import choose
from greenq.config.units import LARGEST, LONGEST, read_bytes, read_seconds, write_bytes, write_seconds

__all__ = ["read_scalar", "read_text"]

_YES = {"true", "yes", "on", "y", "1"}
_NO = {"false", "no", "off", "n", "0"}
_NOTHING = {"null", "none", "~"}
_NEVER = {*_NOTHING, "never", "off", "no", "false", "unlimited", "infinite", "inf"}
_MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"


def read_scalar(key: Key, given: Given) -> Any:
    """Read text, a flag, a count or a number.

    Parameters:
        key: the setting.
        given: what was written.

    Raises:
        Wrong: it does not fit.
    """
    given = _unwrapped(key, given)
    if given.value is None:
        if given.missing:
            raise Wrong(
                "has no value", "write one, or delete the line" + (", or write null" if key.optional else "")
            )
        if key.optional:
            return None
        raise Wrong(_wanted(key), "delete the line for the default")
    value = _READERS[key.kind](key, given)
    _bound(key, value)
    return value


def read_text(key: Key, given: Given) -> str:
    """Read one text, such as an entry of a list, with the checks of its setting's unit.

    Raises:
        Wrong: it is no text, or not of the right form.
    """
    value = given.value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        wanted = "must be text" if key.kind in ("text", "texts") else "must hold texts"
        plain = isinstance(value, (bool, int, float)) and given.place.line
        raise Wrong(wanted, f'put it in quotes: "{value}"' if plain else "")
    if key.choices:
        return choose(value, key.choices)
    if key.unit is not None and key.unit in _FORMS:
        _FORMS[key.unit](value)
    elif not value.strip():
        raise Wrong("must not be empty")
    elif not value.isprintable():
        raise Wrong("must not hold line breaks or control characters")
    return value


def _unwrapped(key: Key, given: Given) -> Given:
    """Bare text that stands for null becomes None."""
    if given.text and key.optional and given.value.strip().lower() in _NOTHING:
        return Given(None, given.place)
    return given


def _wanted(key: Key) -> str:
    if key.unit == "seconds":
        return "must be a time such as 30s, 5m, 1h, 1d or 250ms"
    if key.unit == "bytes":
        return "must be a size such as 4096, 64KiB or 10MB"
    return {
        "flag": "must be true or false",
        "count": "must be a whole number",
        "number": "must be a number",
    }.get(key.kind, "must be text")


def _flag(key: Key, given: Given) -> bool:
    value = given.value
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    meant = True if word in _YES else False if word in _NO else None
    if given.text and meant is not None:
        return meant
    if meant is None:
        raise Wrong(_wanted(key))
    name = str(meant).lower() if given.place.line else str(meant)
    quotes = given.quoted and word in ("true", "false")
    raise Wrong(_wanted(key), f"write {name} without quotes" if quotes else f"write {name}")


def _count(key: Key, given: Given) -> int:
    value = given.value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if key.unit == "bytes" and isinstance(value, str):
        return read_bytes(value.strip() if given.text else value)
    if isinstance(value, float) and value.is_integer():
        raise Wrong(_wanted(key), f"write {int(value)}" if abs(value) < 1e15 else "")
    if isinstance(value, str):
        if given.text and re.fullmatch(r"\s*[-+]?[0-9]{1,25}\s*", value):
            return int(value)
        digits = re.sub(r"[ _,']", "", value)
        if re.fullmatch(r"[-+]?[0-9]{1,25}", digits):
            raise Wrong(_wanted(key), f"write {digits}" + (" without quotes" if digits == value else ""))
    raise Wrong(_wanted(key), _null_instead(key, value))


def _number(key: Key, given: Given) -> float:
    value = given.value
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise Wrong(_wanted(key), _null_instead(key, "never"))
        return float(value)
    if isinstance(value, str) and value.strip().lower() not in _NEVER:
        if value.strip().startswith("-"):
            raise Wrong("must not be negative")
        if key.unit == "seconds":
            return read_seconds(value.strip() if given.text else value)
        if given.text and re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", value):
            return float(value)
    raise Wrong(_wanted(key), _null_instead(key, value))


def _null_instead(key: Key, value: Any) -> str:
    means_never = value is False or (isinstance(value, str) and value.strip().lower() in _NEVER)
    return "write null for none" if key.optional and means_never else ""


def _bound(key: Key, value: Any) -> None:
    if isinstance(value, (str, bool)):
        return
    write: Callable[[Any], str] = {"seconds": write_seconds, "bytes": write_bytes}.get(key.unit or "", str)
    if key.least is not None and value < key.least:
        raise Wrong(
            f"must be at least {write(key.least)}",
            # A limit of 0 means no limit to many; a number of things (it has a default of its own) does not.
            "write null for none" if key.optional and key.unit == "seconds" and not value else "",
        )
    most = (
        key.most
        if key.most is not None
        else {"seconds": LONGEST, "bytes": LARGEST}.get(key.unit or "", 2**31 - 1)
    )
    if value > most:
        raise Wrong(f"must be at most {write(most)}")


def _address(value: str) -> None:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
        raise Wrong("must be an address such as sqlite:///greenq.db", "start with the scheme, then ://")
    if value != value.strip() or not value.isprintable():
        raise Wrong("must not hold line breaks, control characters, or spaces around it")


def _module(value: str) -> None:
    if re.fullmatch(rf"{_MODULE}(?::{_MODULE})?", value):
        return
    path = re.fullmatch(r"(?:\./)?([\w/]+)\.py(?::(\w+))?", value)
    mend = ""
    if path:
        mend = "write " + path[1].replace("/", ".") + (f":{path[2]}" if path[2] else "")
    raise Wrong("must be module or module:attribute, such as shop.tasks:app", mend)


def _class(value: str) -> None:
    if not re.fullmatch(rf"{_MODULE}:{_MODULE}", value):
        dotted = re.fullmatch(rf"({_MODULE})\.([A-Za-z_]\w*)", value)
        mend = f"write {dotted[1]}:{dotted[2]}" if dotted else ""
        raise Wrong("must be module:Class, such as shop.codecs:Cbor", mend)


def _queue(value: str) -> None:
    if not value:
        raise Wrong("must not be empty")
    if re.search(r"[\s,]", value) or not value.isprintable():
        raise Wrong("must be a queue's name, without spaces, commas or control characters")
    if len(value.encode("utf-8", "surrogatepass")) > 255:
        raise Wrong("must be at most 255 bytes, as queue names are in RabbitMQ")


def _node(value: str) -> None:
    unknown = re.search(r"%(?![hni%]).?", value)
    if unknown:
        raise Wrong("knows only %h, %n, %i, and %% for a percent sign", f"{unknown[0]} is none of them")
    if not value or re.search(r"\s", value) or not value.isprintable():
        raise Wrong("must be a name without spaces, such as mail@%h")


_READERS: Mapping[str, Callable[[Key, Given], Any]] = {
    "text": read_text,
    "flag": _flag,
    "count": _count,
    "number": _number,
}
_FORMS: Mapping[str, Callable[[str], None]] = {
    "url": _address,
    "dotted": _module,
    "class": _class,
    "queue": _queue,
    "node": _node,
}
