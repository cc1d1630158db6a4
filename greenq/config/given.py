"""A value as somebody gave it, before the schema says what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenq.config.mistakes import Place

__all__ = ["Given", "from_object"]


@dataclass(frozen=True, slots=True)
class Given:
    """A value and where it was written.

    Attributes:
        value: None, bool, int, float or str; or a list of Given; or name → (the name's place, Given).
        place: where it was written.
        text: it is bare text (a variable, an option, an interpolated string) that may stand for any type.
        quoted: it was written in quotes, so it means text.
        missing: nothing was written after the colon.
        broken: it could not be read, and that was already reported.
        shown: how to show it in a message when that differs from the value.
    """

    value: Any
    place: Place
    text: bool = False
    quoted: bool = False
    missing: bool = False
    broken: bool = False
    shown: str | None = None


def from_object(value: Any, place: Place, *, text: bool = False) -> Given:
    """Wrap Python data given in code or by an option.

    Parameters:
        value: scalars, lists, tuples and mappings of them.
        place: where it was given.
        text: strings in it are bare text, as a command line's are.
    """
    if isinstance(value, Mapping):
        entries = {str(name): (place, from_object(entry, place, text=text)) for name, entry in value.items()}
        return Given(entries, place)
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return Given([from_object(entry, place, text=text) for entry in ordered], place)
    return Given(value, place, text=text and isinstance(value, str))
