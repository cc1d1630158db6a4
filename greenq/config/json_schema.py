"""The schema as JSON Schema, with which editors complete and check greenq.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from greenq.config.keys import Key, Section, root
from greenq.config.units import BYTES_FORM, SECONDS_FORM

__all__ = ["json_schema"]

_VARIABLE = r"\$\{"
_TYPES = {"text": "string", "flag": "boolean", "count": "integer", "number": "number"}


def json_schema(names: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Describe greenq.yaml.

    It accepts every file that greenq accepts, and refuses most of those that greenq refuses.

    Parameters:
        names: the names there are for ``pool``, ``serializer`` and ``compression``, which editors then offer.

    Returns:
        A schema as plain data.

    Source: https://json-schema.org/draft/2020-12
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://greenq.invalid/greenq.yaml.json",
        "title": "greenq.yaml",
        **_section(root(), names or {}),
        "patternProperties": {"^x-": {"description": "A place for anchors; greenq does not read it."}},
    }


def _section(section: Section, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    properties = {
        name: _nested(member, names) if isinstance(member, Section) else _key(member, names)
        for name, member in section.members.items()
    }
    required = [
        name for name, member in section.members.items() if isinstance(member, Key) and member.required
    ]
    return {
        "type": "object",
        "description": section.about,
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _nested(section: Section, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A section may be left empty, and one with an address may be that address."""
    whole = _section(section, names)
    # Keys must stay visible to editors, so the other forms are added as types rather than as alternatives.
    whole["type"] = ["object", "null", *(["string"] if section.bare else [])]
    return whole


def _key(key: Key, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    about: dict[str, Any] = {"description": key.help, "default": _plain(key.default)}
    if key.example:
        about["description"] += f" Example: {key.example}"
    if key.required:
        del about["default"]
    if key.kind == "texts":
        least = 1 if key.default else 0
        return {**about, "type": "array", "minItems": least, "uniqueItems": True, "items": _text(key, names)}
    if key.kind == "named_texts":
        return {**about, "type": ["object", "null"], "additionalProperties": {"type": "string"}}
    if key.kind == "named_values":
        return {**about, "type": ["object", "null"]}
    if key.record is not None and key.kind == "records":
        return {**about, "type": "array", "items": _section(key.record, names)}
    if key.record is not None:
        entry = {**_section(key.record, names), "type": ["object", "null"]}
        return {**about, "type": ["object", "null"], "additionalProperties": entry}
    if key.kind == "text":
        return {**about, **_text(key, names)}
    return {**about, **_number(key)}


def _text(key: Key, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Names are offered without being the only ones allowed: plug-ins and variables add others."""
    kinds = ["string", "null"] if key.optional else "string"
    offered = list(key.choices or names.get(key.unit or "", ()))
    if not offered:
        return {"type": kinds, "minLength": 1}
    return {
        "type": kinds,
        "anyOf": [{"enum": [*offered, *([None] if key.optional else [])]}, {"type": kinds}],
    }


def _number(key: Key) -> dict[str, Any]:
    """A flag or a number with its bounds, or its text with a unit, or a variable."""
    exact: dict[str, Any] = {"type": _TYPES[key.kind]}
    if key.least is not None:
        exact["minimum"] = key.least
    if key.most is not None:
        exact["maximum"] = key.most
    form = {"seconds": SECONDS_FORM, "bytes": BYTES_FORM}.get(key.unit or "")
    pattern = f"(?:{form})|{_VARIABLE}" if form else _VARIABLE
    forms = [exact, {"type": "string", "pattern": pattern}]
    return {"anyOf": [*forms, {"type": "null"}] if key.optional else forms}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
