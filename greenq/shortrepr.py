"""Values as text that is never long: arguments in headers, logs and screens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["shortrepr"]

LIMIT = 1024
DEPTH = 3
_PLAIN = frozenset({int, float, bool, type(None)})
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"), dict: ("{", "}"),
}  # fmt: skip


def shortrepr(value: Any, limit: int = LIMIT, depth: int = DEPTH) -> str:
    """`repr`, but bounded in length and depth, and never failing.

    Its cost is bounded too: what would not be shown is not looked at.

    Parameters:
        limit: characters, about.
        depth: nested containers that are opened.
    """
    kind = type(value)
    # Most calls have a few short arguments: the interpreter's own repr is four times as fast for them.
    if (kind is tuple or kind is dict) and len(value) <= 8:
        room = limit
        for item in value if kind is tuple else value.values():
            item_kind = type(item)
            if item_kind is str:
                room -= len(item)
            elif item_kind in _PLAIN:
                room -= 24
            else:
                room = -1
                break
        if room > 0:
            try:
                text = repr(value)
            except ValueError:
                # An int of more digits than the interpreter writes: only that one is left out below.
                return _Writer(limit, depth).write(value)
            return text if len(text) <= limit else text[: limit - 3] + "..."
    return _Writer(limit, depth).write(value)


def _own_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


class _Writer:
    """One run of `shortrepr` over nested values.

    Parameters:
        room: characters left.
        depth: containers that may still be opened.
    """

    def __init__(self, room: int, depth: int) -> None:
        self.room = room
        self.depth = depth

    def write(self, value: Any) -> str:
        kind = type(value)
        if kind is str or kind is bytes:
            return self._spend(self._text(value))
        brackets = _BRACKETS.get(kind)
        if brackets is None:
            return self._spend(self._cut(_own_repr(value)))
        if not value:
            return self._spend(_own_repr(value))
        opening, closing = brackets
        if self.depth <= 0:
            return self._spend(f"{opening}...{closing}")
        self.depth -= 1
        self.room -= len(opening) + len(closing)
        inside = self._pairs(value) if kind is dict else self._items(value)
        self.depth += 1
        if kind is tuple and len(value) == 1:
            inside += ","
        return f"{opening}{inside}{closing}"

    def _items(self, values: Iterable[Any]) -> str:
        parts = []
        for value in values:
            if self.room <= 0:
                parts.append("...")
                break
            parts.append(self.write(value))
            self.room -= 2
        return ", ".join(parts)

    def _pairs(self, values: dict[Any, Any]) -> str:
        parts = []
        for key, value in values.items():
            if self.room <= 0:
                parts.append("...")
                break
            parts.append(f"{self.write(key)}: {self.write(value)}")
            self.room -= 4
        return ", ".join(parts)

    def _text(self, value: str | bytes) -> str:
        room = max(0, self.room)
        # Cut before repr, so that ten megabytes are never escaped to show a thousand.
        return repr(value) if len(value) <= room else f"{value[:room]!r}..."

    def _cut(self, text: str) -> str:
        room = max(0, self.room)
        return text if len(text) <= room else text[:room] + "..."

    def _spend(self, text: str) -> str:
        self.room -= len(text)
        return text
