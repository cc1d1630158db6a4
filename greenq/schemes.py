"""Implementations by the scheme of their address; each is imported only when it is chosen."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from greenq.errors import ConfigError

__all__ = ["REDIS", "Place", "Schemes"]

Place = tuple[str, str]
"""A module and the class in it."""

REDIS = (
    "redis", "rediss", "redis+socket", "redis+cluster", "rediss+cluster", "unix", "sentinel",
    "valkey", "valkeys", "valkey+socket", "valkey+cluster", "valkeys+cluster",
)  # fmt: skip
"""The schemes of Redis, of its forks and of all ways to them."""


class Schemes:
    """One table of schemes.

    Parameters:
        what: what is chosen, for messages, such as ``"broker"``.
        group: the entry point group under which third parties add theirs.
        builtin: the place of what each scheme means.
        families: the same for what a scheme has before its first plus.
    """

    def __init__(
        self, what: str, group: str, builtin: Mapping[str, Place], families: Mapping[str, Place]
    ) -> None:
        self._what = what
        self._group = group
        self._builtin = builtin
        self._families = families

    def names(self) -> list[str]:
        """Every scheme that `load` knows, the built-in ones first."""
        return [
            *self._builtin,
            *(f"{family}+*" for family in self._families),
            *sorted(p.name for p in entry_points(group=self._group) if p.name not in self._builtin),
        ]

    def load(self, scheme: str) -> Any:
        """Import the class for addresses of that scheme.

        Raises:
            ConfigError: there is none, or its package is not installed.
        """
        try:
            found = self._builtin.get(scheme)
            if found is None and "+" in scheme:
                found = self._families.get(scheme.partition("+")[0])
            if found is not None:
                module, attribute = found
                return getattr(importlib.import_module(module), attribute)
            for point in entry_points(group=self._group):
                if point.name == scheme:
                    return point.load()
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "greenq", "pools"):
                raise
            raise ConfigError(
                f"the {scheme} {self._what} needs the package {missing}, which is not installed: "
                f"pip install {missing}"
            ) from error
        close = difflib.get_close_matches(scheme, self.names(), 1)
        hint = f"did you mean {close[0]}://?" if close else f"there is {self._listed()}"
        raise ConfigError(f"no {self._what} has addresses that begin with {scheme}://: {hint}")

    def of(self, url: str) -> Any:
        """Import the class for an address.

        Raises:
            ConfigError: it has no scheme, none that is known, or its package is not installed.
        """
        scheme, colon, _ = url.partition("://")
        if not colon:
            raise ConfigError(f"a {self._what}'s address begins with a scheme: {self._listed()}")
        return self.load(scheme.lower())

    def _listed(self) -> str:
        return ", ".join(f"{scheme}://" for scheme in self.names())
