"""Settings that somebody has as a mapping, written as a greenq.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from greenq.config.keys import Key, Section, root
from greenq.config.masking import HIDDEN, mask
from greenq.config.written import written

__all__ = ["transcript"]


def transcript(settings: Mapping[str, Any], remarks: Mapping[str, str] | None = None) -> str:
    """The text of a greenq.yaml that says what the mapping does; what is a default is left out.

    A password in an address is not written: a variable takes its place.

    Parameters:
        settings: sections and keys as in the file; durations in seconds, sizes in bytes.
        remarks: comments, by dotted key.
    """
    lines: list[str] = []
    for name, member in root().members.items():
        if name not in settings:
            continue
        if isinstance(member, Key):
            lines += _key(member, settings[name], "", remarks or {})
            continue
        inner = [line for part in _members(member) for line in _inside(part, settings[name], remarks or {})]
        if inner:
            lines += [f"{name}:", *inner]
    return "\n".join(lines) + "\n"


def _members(section: Section) -> list[Key]:
    return [member for member in section.members.values() if isinstance(member, Key)]


def _inside(key: Key, section: Mapping[str, Any], remarks: Mapping[str, str]) -> list[str]:
    return _key(key, section[key.name], "  ", remarks) if key.name in section else []


def _key(key: Key, value: Any, indent: str, remarks: Mapping[str, str]) -> list[str]:
    value = tuple(value) if isinstance(value, list) else value
    if value == key.default:
        return []
    comment = [f"{indent}# {remarks[key.path]}"] if key.path in remarks else []
    if key.kind == "records":
        return [*comment, f"{indent}{key.name}:", *(f"{indent}  - {_flow(entry)}" for entry in value)]
    if key.kind.startswith("named_"):
        entries = [f"{indent}  {_flow(name)}: {_flow(entry)}" for name, entry in value.items()]
        return [*comment, f"{indent}{key.name}:", *entries]
    if key.unit == "url" and isinstance(value, str):
        value = mask(value).replace(HIDDEN, f"${{{key.path.partition('.')[0].upper()}_PASSWORD}}")
    return [*comment, f"{indent}{key.name}: {written(key, value)}"]


def _flow(value: Any) -> str:
    """A value in YAML's short form, which for this kind of data is JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)
