"""Stamps: headers of one's own that a whole workflow carries, and the visitors that choose them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["GroupStampingVisitor", "StampingVisitor", "stamps_of"]

NAMES = "stamped_headers"
"""The option, and the header, that lists which of the others are stamps."""


class StampingVisitor(ABC):
    """Chooses stamps for each part of a workflow as `Signature.stamp` walks through it.

    Every method gets the part and the stamps so far, and returns a mapping of stamps. With the key
    ``stamped_headers`` it says which of them are stamps; otherwise all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Stamps of one task."""

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Stamps of a group and all of its members."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """Called after the members of a group."""
        return

    def on_chain_start(self, chain: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Stamps of a chain and all of its steps."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """Called after the steps of a chain."""
        return

    def on_chord_header_start(self, sig: Any, **header: Any) -> Mapping[str, Any] | None:
        """Stamps of a chord's header; by default those of its group."""
        return self.on_group_start(sig.header_group(), **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Called after a chord's header."""
        self.on_group_end(sig.header_group(), **header)

    def on_chord_body(self, sig: Any, **header: Any) -> Mapping[str, Any] | None:
        """Stamps of a chord's body."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> Mapping[str, Any] | None:
        """Stamps of a callback."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> Mapping[str, Any] | None:
        """Stamps of an errback."""
        return {}


class GroupStampingVisitor(StampingVisitor):
    """Stamps every task with the ids of the groups that it is in, outermost first, as ``groups``.

    Parameters:
        groups: ids to begin with.
    """

    def __init__(self, groups: Iterable[str] = ()) -> None:
        self.groups = list(groups)

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any]:
        """Enter a group; one without an id gets it now."""
        if group.id is None:
            group.set(task_id=group.fresh_id())
        self.groups.append(group.id)
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """Leave it."""
        self.groups.pop()

    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any]:
        """The groups around one task."""
        return {"groups": list(self.groups), NAMES: ["groups"]}


def stamps_of(
    given: Mapping[str, Any],
    visited: Mapping[str, Any] | None,
    own: Mapping[str, Any] | None,
    append: bool,
) -> dict[str, Any]:
    """Put together the stamps of one part.

    Parameters:
        given: what the part around it has, or the caller gave.
        visited: what a visitor chose; goes before `given`.
        own: the part's options, of which only stamps are taken; None to leave them out.
        append: where two differ, keep both in a list; otherwise the one that goes before.

    Returns:
        The stamps, and under ``stamped_headers`` their names.
    """
    stamps = dict(given)
    names = _names(stamps)
    if visited is not None:
        _merge(stamps, visited, append)
        names += _names(visited)
    if own is not None:
        names += own.get(NAMES) or []
        _merge(stamps, {name: own[name] for name in names if name in own}, append)
    stamps[NAMES] = sorted(set(names))
    return stamps


def _names(stamps: Mapping[str, Any]) -> list[str]:
    said = stamps.get(NAMES)
    return [name for name in stamps if name != NAMES] if said is None else list(said)


def _merge(into: dict[str, Any], more: Mapping[str, Any], append: bool) -> None:
    for name, value in more.items():
        if name == NAMES:
            continue
        before = into.get(name)
        if name not in into:
            into[name] = value
        elif isinstance(before, dict) and isinstance(value, Mapping):
            into[name] = merged = dict(before)
            _merge(merged, value, append)
        elif isinstance(before, list) and isinstance(value, list):
            into[name] = before + value
        elif append:
            into[name] = [*_listed(before), value]


def _listed(value: Any) -> list[Any]:
    """What duplicates are added to."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
