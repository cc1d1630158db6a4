"""Read what the addresses of all servers have in common: parts, options, and mistakes in them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, parse_qsl, urlsplit

from greenq.config.masking import mask
from greenq.errors import ConfigError
from greenq.tls import OPTIONS as TLS_OPTIONS

__all__ = ["options", "seconds", "split", "yes"]


def split(url: str) -> SplitResult:
    """Take an address apart.

    Raises:
        ConfigError: it cannot be read.
    """
    if "#" in url:
        raise ConfigError("the address has a #: write %23 if the password or a name holds one")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"the address {mask(url)} cannot be read: {error}") from None
    return parts


def options(parts: SplitResult, known: Sequence[str], secure_scheme: str) -> dict[str, str]:
    """The options behind the question mark.

    Parameters:
        known: what there is for this address.
        secure_scheme: the one to use for TLS, where options of TLS are not among the known.

    Raises:
        ConfigError: one is unknown.
    """
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name in known:
            continue
        if name in TLS_OPTIONS:
            raise ConfigError(f"{name} is for TLS: write {secure_scheme}:// instead of {parts.scheme}://")
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ConfigError(f"a {parts.scheme}:// address has no option {mask(name)}: {hint}")
    return given


def yes(given: Mapping[str, str], name: str) -> bool:
    """Read an option that is yes or no; no if it is not given.

    Raises:
        ConfigError: it is neither.
    """
    text = given.get(name, "no").lower()
    if text not in ("1", "true", "yes", "0", "false", "no"):
        raise ConfigError(f"{name} is {text!r}: choose yes or no")
    return text in ("1", "true", "yes")


def seconds(name: str, text: str, zero: bool = False, most: float = 1e7) -> float:
    """Read a number of seconds.

    Parameters:
        zero: whether it may be 0.
        most: it must be less.

    Raises:
        ConfigError: it is no such number.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < most or (not value and not zero):
        raise ConfigError(f"{name} is {text!r}: give seconds {'from' if zero else 'above'} 0")
    return value
