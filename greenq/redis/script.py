"""One Lua script, and how the server is asked for it."""

from __future__ import annotations

from hashlib import sha1

__all__ = ["Script"]


class Script:
    """A script and the name that the server calls it by."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode()).hexdigest()
