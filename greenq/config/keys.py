"""The schema's classes seen as a tree of sections and keys, for everything that walks it."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from greenq.config.schema import Settings

__all__ = ["ONE_VALUE", "Key", "Kind", "Section", "leaves", "root", "variables"]

Kind = Literal[
    "text", "flag", "count", "number", "texts", "records", "named_records", "named_texts", "named_values"
]  # fmt: skip

ONE_VALUE: frozenset[Kind] = frozenset(("text", "flag", "count", "number"))
"""The kinds that are no list and no mapping."""

_SCALARS: dict[Any, Kind] = {str: "text", bool: "flag", int: "count", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        name, path: its own name, and the dotted one from the root.
        kind: the shape of its value; `record` is the section that each entry of a list or mapping follows.
        optional: null is allowed.
        The rest is as given to `greenq.config.schema.key`.
    """

    name: str
    path: str
    kind: Kind
    optional: bool
    default: Any
    help: str
    unit: str | None
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    required: bool
    example: str
    record: Section | None


@dataclass(frozen=True, slots=True)
class Section:
    """Keys that are written together.

    Attributes:
        path: dotted, empty for the root and for the entries of lists and mappings.
        make: the schema's class.
        about: its first docstring line.
        members: by name, in the schema's order.
    """

    path: str
    make: type
    about: str
    members: Mapping[str, Key | Section]

    @property
    def bare(self) -> Key | None:
        """The key that a plain text in place of the section sets: its address, if it has one."""
        return next((m for m in self.members.values() if isinstance(m, Key) and m.unit == "url"), None)


@functools.cache
def root() -> Section:
    """The tree of all settings."""
    return _section(Settings, "")


def leaves(section: Section) -> Iterator[Key]:
    """Every key of a section and of the sections in it, in order."""
    for member in section.members.values():
        if isinstance(member, Section):
            yield from leaves(member)
        else:
            yield member


@functools.cache
def variables() -> Mapping[str, Key]:
    """The environment variables by name; lists of records and mappings have none."""
    simple = (key for key in leaves(root()) if key.record is None and not key.kind.startswith("named_"))
    return {f"GREENQ_{key.path.upper().replace('.', '_')}": key for key in simple}


def _section(make: type, path: str) -> Section:
    hints = typing.get_type_hints(make)
    members: dict[str, Key | Section] = {}
    for field in dataclasses.fields(make):
        below = f"{path}.{field.name}" if path else field.name
        annotation = hints[field.name]
        if dataclasses.is_dataclass(annotation):
            members[field.name] = _section(typing.cast(type, annotation), below)
        else:
            members[field.name] = _key(field, annotation, below)
    return Section(path, make, (make.__doc__ or "").partition("\n")[0], members)


def _key(field: dataclasses.Field[Any], annotation: Any, path: str) -> Key:
    kind, optional, entry = _shape(annotation)
    factory = field.default_factory
    default = factory() if factory is not dataclasses.MISSING else field.default
    record = _section(entry, "") if entry is not None else None
    return Key(
        name=field.name,
        path=path,
        kind=kind,
        optional=optional,
        default=default,
        record=record,
        **field.metadata,
    )


def _shape(annotation: Any) -> tuple[Kind, bool, type | None]:
    """The kind of an annotation, whether null is allowed, and the class of its entries."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType) and type(None) in inner and len(inner) == 2:
        kind, _, record = _shape(next(one for one in inner if one is not type(None)))
        return kind, True, record
    if annotation in _SCALARS:
        return _SCALARS[annotation], False, None
    named = isinstance(origin, type) and issubclass(origin, Mapping) and inner[0] is str
    if named or (origin is tuple and inner[1:] == (Ellipsis,)):
        entry = inner[1 if named else 0]
        if named and entry is Any:
            return "named_values", False, None
        if entry is str:
            return "named_texts" if named else "texts", False, None
        if isinstance(entry, type) and dataclasses.is_dataclass(entry):
            return "named_records" if named else "records", False, entry
    raise TypeError(f"the schema cannot hold {annotation}: add its kind to greenq.config.keys")
