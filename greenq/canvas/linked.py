"""Callbacks and errbacks of a signature."""

from __future__ import annotations

from typing import Any, Self

from greenq.optionchecks import listed

__all__ = ["Linked"]


class Linked:
    """The part of `Signature` that links others to it."""

    options: Any

    def as_signature(self, other: Any) -> Any:
        """A callback as a signature of the same application."""
        return other

    def link(self, callback: Any) -> Any:
        """Call another with the result when this one succeeds; returns the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call another when this one fails; returns the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """The same as `link_error`, but returns the signature itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add a value to an option that is a list, if it is not there already; returns the value."""
        before = self.options[key] = listed(self.options.get(key))
        if value not in before:
            before.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add a value or several to an option that is a list."""
        self.options[key] = [*listed(self.options.get(key)), *listed(value)]

    def flatten_links(self) -> list[Any]:
        """It and all of its callbacks, and theirs."""
        links = [self.as_signature(link) for link in listed(self.options.get("link"))]
        return [self, *(each for link in links for each in link.flatten_links())]
