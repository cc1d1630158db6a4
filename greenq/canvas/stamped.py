"""What a signature can do about stamps; the walk through a workflow with a visitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from greenq.canvas.stamping import NAMES, StampingVisitor, stamps_of
from greenq.optionchecks import call_option_names, listed

__all__ = ["Stamped"]


class Stamped:
    """The part of `Signature` that stamps."""

    options: Any

    def as_signature(self, other: Any) -> Any:
        """A callback as a signature of the same application."""
        return other

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options of its call."""
        self.options.update(options)
        return self

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Any:
        """Give it, its callbacks and its members these headers, and those that a visitor chooses.

        Parameters:
            visitor: asked at each part.
            append_stamps: where a stamp is there already, keep both in a list.
            headers: stamps by name.
        """
        self.stamp_links(visitor, append_stamps, **headers)
        visited = None if visitor is None else visitor.on_signature(self, **headers) or {}
        stamps = self._stamps(visited, append_stamps, headers)
        # What a visitor gave without calling it a stamp is an option, if there is one of that name.
        known = call_option_names() | set(stamps[NAMES])
        return self.set(**{name: value for name, value in stamps.items() if name in known})

    def stamp_links(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> None:
        """Stamp its callbacks and errbacks only."""
        for option, ask in (("link", "on_callback"), ("link_error", "on_errback")):
            links = listed(self.options.get(option))
            if not links:
                continue
            stamps: dict[str, Any] = dict(headers)
            links = self.options[option] = [self.as_signature(link) for link in links]
            for link in links:
                visited = None if visitor is None else getattr(visitor, ask)(link, **stamps) or {}
                stamps = stamps_of(stamps, visited, None, append_stamps)
                link.stamp(visitor, append_stamps, **stamps)

    def _stamps(
        self, visited: Mapping[str, Any] | None, append: bool, headers: Mapping[str, Any]
    ) -> dict[str, Any]:
        return stamps_of(headers, visited, self.options, append)
