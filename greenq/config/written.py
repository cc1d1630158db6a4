"""Write a value as one would in YAML, with its unit."""

from __future__ import annotations

import json
import re
from typing import Any

from greenq.config.keys import Key
from greenq.config.units import write_bytes, write_seconds

__all__ = ["written"]

_PLAIN = re.compile(r"[A-Za-z/][\w./@%+*:-]*(?<!:)")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def written(key: Key, value: Any) -> str:
    """The YAML text of a setting's value.

    Parameters:
        key: the setting, for its unit.
        value: as held in the settings, or as JSON would hold it.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        if key.unit == "seconds":
            return write_seconds(value)
        return write_bytes(int(value)) if key.unit == "bytes" else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(key, entry) for entry in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {written(key, entry)}' for name, entry in value.items())}}}"
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)
