"""Hide passwords and tokens in addresses before anything is printed."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "label", "mask", "masked", "names_a_secret", "quoted"]

HIDDEN = "***"
LONGEST_ADDRESS = 4096

_WORDS = r"pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|credential|signature"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
_QUERY_SECRET = re.compile(rf"([?&;#][^=&\s]*?(?:{_WORDS})[^=&]*=)[^&]*", re.IGNORECASE)
_NEXT_ADDRESS = re.compile(r"([;,]\s*)(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_USER = re.compile(r"[\w.%+-]*")


def mask(text: str) -> str:
    """Hide every password, token and unnamed user in an address, or in several joined by ``;`` or ``,``.

    It also takes what no parser accepts, and then hides too much rather than too little:
    ``redis://:pw@host`` and ``redis:/:pw@host`` both lose the password. Text without a secret stays as it is.

    Parameters:
        text: an address, whole; a password may hold any character, so it ends at the last ``@``.

    Returns:
        The same text with ``***`` in place of secrets.
    """
    if len(text) > LONGEST_ADDRESS:
        return HIDDEN
    return "".join(part if i % 2 else _mask_one(part) for i, part in enumerate(_NEXT_ADDRESS.split(text)))


def masked(value: Any) -> Any:
    """Apply `mask` to every string inside lists and mappings; tuples become lists."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(name)): masked(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(entry) for entry in value]
    return value


def names_a_secret(name: str) -> bool:
    """Whether a variable or parameter of this name is likely to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def label(name: str) -> str:
    """Show the name of a key that a user wrote, which may be an address in the wrong place."""
    text = _printable(mask(name))
    return text if len(text) <= 80 else text[:77] + "..."


def quoted(value: Any) -> str:
    """Show a user's value in a message: secrets hidden, text in double quotes, never long."""
    if isinstance(value, str):
        text = _printable(mask(value))
        return f'"{text if len(text) <= 60 else text[:57] + "..."}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "{}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list" if value else "[]"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18):
        return str(value)
    return "a huge number" if isinstance(value, int) else f"a {type(value).__name__}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _mask_one(text: str) -> str:
    text = _QUERY_SECRET.sub(rf"\g<1>{HIDDEN}", text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        # The scheme is missing or misspelled: what stands before the last @ and has a colon is no plain name.
        before, at, after = text.rpartition("@")
        return f"{HIDDEN}@{after}" if at and ":" in before else text
    before, at, after = rest.rpartition("@")
    if not at:
        return f"{scheme}://{_mask_hostless(rest)}"
    user, colon, _ = before.partition(":")
    if before.startswith("/") and not colon:
        return text  # a path with an @ in it
    if colon and _USER.fullmatch(user):
        return f"{scheme}://{user}:{HIDDEN}@{after}"
    return f"{scheme}://{HIDDEN}@{after}"


def _mask_hostless(rest: str) -> str:
    """Hide what stands where a port would: the password of a ``user:password`` without a host after it."""
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "[" in place or all(_is_host(host) for host in re.split(r"[,;]", place)):
        return rest
    return f"{place.partition(':')[0]}:{HIDDEN}"


def _is_host(text: str) -> bool:
    host, colon, port = text.partition(":")
    return not colon or (bool(host) and (port.isdigit() or not port))
