"""The resolved settings, with where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from greenq.config.keys import ONE_VALUE, Key, leaves, root
from greenq.config.masking import label, masked
from greenq.config.mistakes import Place
from greenq.config.schema import Settings
from greenq.config.written import written

__all__ = ["Configuration", "Row"]

DEFAULT = "default"


class Row(NamedTuple):
    """One line of `greenq config show`.

    Attributes:
        key: dotted.
        value: as JSON could hold it, secrets hidden; durations in seconds, sizes in bytes.
        text: the same as one would write it in YAML.
        origin: where it was set.
    """

    key: str
    value: Any
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings and their origins.

    Attributes:
        settings: typed and frozen.
        path: the YAML file that was read, or None.
        places: where each value that is no default was written, by dotted key.
    """

    settings: Settings
    path: Path | None
    places: Mapping[str, Place]

    def origin(self, key: str) -> str:
        """Where a setting's value came from.

        Parameters:
            key: dotted, such as ``worker.pool``; of a section, every origin in it is named.

        Returns:
            ``greenq.yaml:3``, ``GREENQ_WORKER_POOL``, ``--pool``, ``code`` or ``default``.

        Raises:
            KeyError: there is no such setting.
        """
        if key in self.places:
            return str(self.places[key])
        inside = [str(place) for path, place in self.places.items() if path.startswith(f"{key}.")]
        if inside:
            return ", ".join(dict.fromkeys(inside))
        known = {one.path: one.kind for one in leaves(root())}
        # Entries of lists and mappings have paths of their own below their setting's.
        below = any(
            kind not in ONE_VALUE and key.startswith((f"{path}.", f"{path}[")) for path, kind in known.items()
        )
        if key in known or key in root().members or below:
            return DEFAULT
        raise KeyError(key)

    def describe(self) -> list[Row]:
        """Every setting with its value and origin, secrets hidden, in the schema's order."""
        rows: list[Row] = []
        for key in leaves(root()):
            value: Any = self.settings
            for name in key.path.split("."):
                value = getattr(value, name)
            rows += self._rows(key, key.path, value)
        return rows

    def _rows(self, key: Key, path: str, value: Any) -> list[Row]:
        if key.record is not None and value:
            entries = value.items() if isinstance(value, Mapping) else enumerate(value)
            return [
                row
                for name, entry in entries
                for member in leaves(key.record)
                for row in self._rows(
                    member,
                    f"{path}.{name}.{member.name}"
                    if isinstance(value, Mapping)
                    else f"{path}[{name}].{member.name}",
                    getattr(entry, member.name),
                )
            ]
        if key.kind == "named_texts" and value:
            return [
                Row(
                    label(f"{path}.{name}"),
                    masked(text),
                    written(key, masked(text)),
                    self.origin(f"{path}.{name}"),
                )
                for name, text in value.items()
            ]
        plain = masked(value)
        return [Row(label(path), plain, written(key, plain), self.origin(path))]
