"""The mistakes found in a configuration, collected so that all of them are reported together."""

from __future__ import annotations

from typing import NamedTuple

from greenq.errors import ConfigError

__all__ = ["Mistakes", "Place", "Wrong"]

MOST_SHOWN = 50


class Wrong(ValueError):
    """A value is not what its setting takes.

    Parameters:
        what: what it must be, to be followed by what it is.
        mend: what to write instead, if that can be told.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


class Place(NamedTuple):
    """Where a value was written: a file and its line, a variable, an option, ``code`` or ``default``."""

    name: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}" if self.line else self.name


class Mistakes:
    """Collects one line for each mistake, in the order of the places: a file's lines ascending."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, message: str) -> None:
        """Note a mistake once; `message` says what is wrong and what to write instead."""
        if (place, message) not in self._found:
            self._found.append((place, message))

    def lines(self) -> list[str]:
        """One ``place: message`` for each mistake."""
        first_seen = {place.name: i for i, (place, _) in reversed(list(enumerate(self._found)))}
        ordered = sorted(self._found, key=lambda found: (first_seen[found[0].name], found[0].line))
        lines = [f"{place}: {message}" for place, message in ordered]
        if len(lines) > MOST_SHOWN:
            lines[MOST_SHOWN:] = [f"and {len(lines) - MOST_SHOWN} more mistakes"]
        return lines

    def raise_if_any(self) -> None:
        """End the load if there was a mistake.

        Raises:
            ConfigError: its message has one line for each mistake.
        """
        if self._found:
            raise ConfigError("\n".join(self.lines()))
