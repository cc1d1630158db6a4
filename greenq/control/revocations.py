"""Which tasks are not to be run: bounded in number and age, and remembered for workers that start later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pools import native

__all__ = ["Revocations", "as_member"]

LONGEST = 1024
"""Characters of an id or a stamp; what is longer is nobody's."""


class Revocations:
    """The ids and stamps of revoked tasks, as far as one process knows.

    Parameters:
        most: how many are kept; of more the oldest are forgotten.
        seconds: how long each is kept.

    Attributes:
        some: whether there are any: a worker without looks at nothing.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.some = False
        self._lock = native.Lock()
        self._ids: dict[str, float] = {}
        """Each with when it is forgotten, by the monotonic clock; the oldest first."""
        self._stamps: dict[tuple[str, str], float] = {}

    def add(self, ids: Iterable[str]) -> None:
        """Run these no more."""
        self._keep(self._ids, [id for id in ids if 0 < len(id) <= LONGEST])

    def add_stamps(self, stamps: Mapping[str, Sequence[str]]) -> None:
        """Run no more what has one of these stamps."""
        pairs = [(name, value) for name, values in stamps.items() for value in values]
        self._keep(self._stamps, [pair for pair in pairs if len(pair[0]) + len(pair[1]) <= LONGEST])

    def _keep(self, where: dict[Any, float], new: Sequence[Any]) -> None:
        now = time.monotonic()
        with self._lock:
            for one in new:
                where.pop(one, None)
                where[one] = now + self.seconds
            while where and (len(where) > self.most or next(iter(where.values())) <= now):
                del where[next(iter(where))]
            self.some = bool(self._ids or self._stamps)

    def purge(self) -> None:
        """Forget what is past its time."""
        self._keep(self._ids, ())
        self._keep(self._stamps, ())

    def has(self, id: object, headers: Mapping[str, Any]) -> bool:
        """Whether a task is revoked, by its id or by a stamp in its message's headers."""
        if isinstance(id, str) and self._ids.get(id, 0.0) > time.monotonic():
            return True
        return bool(self._stamps) and self._is_stamped(headers)

    def _is_stamped(self, headers: Mapping[str, Any]) -> bool:
        now = time.monotonic()
        return any(self._stamps.get(pair, 0.0) > now for pair in stamps_of(headers))

    def ids(self) -> list[str]:
        """The ids, oldest first."""
        self.purge()
        return list(self._ids)

    # ── as they are remembered ───────────────────────────────────────────────────────────────────────────

    def merge(self, members: Iterable[str]) -> None:
        """Take in what `as_member` has written; anything else is left alone."""
        ids, stamps = [], []
        for member in members:
            try:
                one = json.loads(member)
            except ValueError:
                continue
            if isinstance(one, str):
                ids.append(one)
            elif isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one):
                stamps.append((one[0], one[1]))
        self.add(ids)
        self._keep(self._stamps, stamps)


def as_member(one: str | tuple[str, str]) -> str:
    """An id, or a stamp's name and value, as text."""
    return json.dumps(one)


def stamps_of(headers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a message's stamps."""
    stamps = headers.get("stamps")
    if not isinstance(stamps, dict):
        return []
    found = []
    for name, value in stamps.items():
        each = value if isinstance(value, list | tuple) else [value]
        found += [(name, str(one)) for one in each if isinstance(name, str)]
    return found
