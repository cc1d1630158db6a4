"""Entries of a signature's dict as attributes."""

from __future__ import annotations

from typing import Any

__all__ = ["Item"]


class Item:
    """An entry of the dict, read and written as an attribute."""

    def __init__(self, name: str, section: str | None = None, about: str = "") -> None:
        self._name, self._section = name, section
        self.__doc__ = about

    def __get__(self, sig: Any, owner: Any = None) -> Any:
        if sig is None:
            return self
        return (sig if self._section is None else sig[self._section]).get(self._name)

    def __set__(self, sig: Any, value: Any) -> None:
        (sig if self._section is None else sig[self._section])[self._name] = value
