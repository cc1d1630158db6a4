"""Read ``sqlite://`` addresses."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from greenq.errors import ConfigError

__all__ = ["Address", "anchored", "parse"]

OPTIONS = {"synchronous": ("full", "normal")}
"""What may follow the ``?``, and with which values; the first is the default."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, and how it is used.

    Parameters:
        path: absolute, without symbolic links: the same file has the same path.
        full: what was confirmed survives a power loss; otherwise only the death of processes.
    """

    path: str
    full: bool = True


def parse(url: str) -> Address:
    """Read an address such as ``sqlite:///greenq.db?synchronous=normal``.

    Three slashes precede a path that is relative to the working directory, four an absolute one.

    Raises:
        ConfigError: it has a mistake.
    """
    parts = urlsplit(url)
    if parts.netloc:
        raise ConfigError(
            f"the sqlite address names a host, {parts.hostname or ''!r}: write three slashes before "
            "a relative path (sqlite:///greenq.db), four before an absolute one (sqlite:////var/lib/greenq.db)"
        )
    if parts.fragment:
        raise ConfigError("the sqlite address has a #: write %23 if it belongs to the file's name")
    name = unquote(parts.path[1:])
    if name in ("", ":memory:"):
        raise ConfigError(
            "the sqlite address names no file: write sqlite:///greenq.db, or memory:// for tests"
        )
    if name.endswith("/") or "\0" in name:
        raise ConfigError(f"the sqlite address must end with a file's name, not {name!r}")
    options = _options(parts.query)
    return Address(os.path.realpath(name), options["synchronous"] == "full")


def anchored(url: str, directory: str) -> str:
    """The address that names the same file wherever the process goes; others than sqlite's as they are.

    Parameters:
        directory: where a relative path begins.
    """
    scheme, _, rest = url.partition(":///")
    name = unquote(rest.partition("?")[0])
    if scheme != "sqlite" or name in ("", ":memory:") or name.startswith("/"):
        return url
    try:
        return f"sqlite:///{quote(directory)}/{rest}"
    except UnicodeEncodeError:
        return url


def _options(query: str) -> dict[str, str]:
    options = {name: values[0] for name, values in OPTIONS.items()}
    seen: set[str] = set()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            close = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(OPTIONS)}"
            raise ConfigError(f"the sqlite address has an unknown option {name!r}: {hint}")
        if name in seen:
            raise ConfigError(f"the sqlite address gives {name!r} twice: keep one")
        if value not in OPTIONS[name]:
            raise ConfigError(
                f"the sqlite address has {name}={value!r}: choose one of {', '.join(OPTIONS[name])}"
            )
        seen.add(name)
        options[name] = value
    return options
