"""What this process holds: deliveries by their tokens, and which of them the server sends again."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from greenq.protocol import Key
from pools import native

__all__ = ["Held", "Ledger"]

REMEMBERED = 20_000
"""Ends of deliveries that are remembered in case the server sends them again: no worker can have more."""

Token = tuple[str, int, int]
"""Which ledger, and what the delivery was first called: session and tag."""


class Held:
    """One delivery that has no end yet. `Ledger.hold` fills it: a constructor would be a call for each.

    Attributes:
        session, tag: what the server calls it now; they change when a lost connection's deliveries return.
    """

    __slots__ = ("key", "queue", "session", "tag", "token")

    token: Token
    session: int
    tag: int
    queue: str
    key: Key | None


class Ledger:
    """Deliveries by token; and by tag, in the server's order, those of the session of now."""

    def __init__(self) -> None:
        self.lock = native.Lock()
        self._name = os.urandom(8).hex()
        self._held: dict[Token, Held] = {}
        self.tags: dict[int, Held | None] = {}
        """What is outstanding, in the server's order; to be changed under `lock`."""
        self._session = 0
        self._orphans: dict[Key, Held] = {}
        self._finished: OrderedDict[Key, None] = OrderedDict()
        self._returned: OrderedDict[Key, None] = OrderedDict()
        self._others: set[int] | None = None
        """Tags of what consumers that stay have not brought; None while there are none."""
        self.loans: dict[Token, native.Signal] = {}
        """What is lent, see `lent`; and what is set when it is back."""

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, session: int) -> None:
        """A new session has begun: what was held in the last one waits for its return."""
        with self.lock:
            if session == self._session:
                return
            self._session = session
            self.tags.clear()
            self._others = None
            for held in self._held.values():
                if held.key is not None:
                    self._orphans[held.key] = held

    def arrived(self, session: int, tag: int, pushed: bool = False) -> None:
        """Something came that nobody has looked at yet; `pushed` by a consumer that stays."""
        with self.lock:
            if session == self._session:
                self.tags[tag] = None
                if self._others is not None and not pushed:
                    self._others.add(tag)

    def tell_apart(self) -> None:
        """Count from now on what consumers bring that stay."""
        with self.lock:
            if self._others is None:
                self._others = set(self.tags)

    def tell_together(self) -> None:
        """There is no such consumer any more."""
        with self.lock:
            self._others = None

    def counted(self) -> tuple[int, int]:
        """How many outstanding deliveries consumers brought that stay, and how many came otherwise."""
        with self.lock:
            others = self._others
            if others is None:
                return 0, len(self.tags)
            if others:
                others.intersection_update(self.tags)
            return len(self.tags) - len(others), len(others)

    # ── deliveries ───────────────────────────────────────────────────────────────────────────────────────

    def hold(self, session: int, tag: int, queue: str, key: Key | None) -> Token:
        """Hand one out."""
        held = Held()
        held.token = self._name, session, tag
        held.session, held.tag, held.queue, held.key = session, tag, queue, key
        with self.lock:
            self._held[held.token] = held
            if session == self._session:
                self.tags[tag] = held
            elif key is not None:
                self._orphans[key] = held
        return held.token

    def known(self, session: int, tag: int, key: Key | None) -> str | None:
        """Whether a redelivery is one of ours: ``"runs"`` (it goes on), ``"ended"``, or None."""
        if key is None:
            return None
        with self.lock:
            if self._finished.pop(key, self) is None:
                return "ended"  # remembered again should its acknowledgement be lost too
            held = self._orphans.pop(key, None)
            if held is None or session != self._session:
                return None
            held.session, held.tag = session, tag
            self.tags[tag] = held
            return "runs"

    def take(self, tokens: Iterable[Any], lent: native.Signal | None = None) -> list[Held | None]:
        """Those that are ours, each once; nobody else can end them meanwhile."""
        found: list[Held | None] = []
        with self.lock:
            for token in tokens:
                try:
                    found.append(self._held.pop(token, None))
                except TypeError:
                    found.append(None)
            if lent is not None:
                self.loans |= {held.token: lent for held in found if held is not None}
        return found

    def keep(self, helds: Iterable[Held | None]) -> None:
        """Undo `take`."""
        with self.lock:
            for held in helds:
                if held is not None:
                    self._held[held.token] = held
                    if held.session != self._session and held.key is not None:
                        self._orphans[held.key] = held

    @contextmanager
    def lent(self, tokens: Sequence[Any]) -> Iterator[list[Held | None]]:
        """Those that are ours, until the end of the block, unless it takes them out of the list.

        Whoever would end them meanwhile finds them by `lent_until`.
        """
        signal = native.Signal()
        helds = self.take(tokens, signal)
        try:
            yield helds
        finally:
            self.keep(helds)
            with self.lock:
                self.loans = {token: other for token, other in self.loans.items() if other is not signal}
            signal.set()

    def lent_until(self, tokens: Iterable[Any]) -> native.Signal | None:
        """Set when one of them, that is lent, is back; None if none is."""
        with self.lock:
            return next((signal for token, signal in self.loans.items() if token in tokens), None)

    def move(self, held: Held, tag: int) -> None:
        """The server calls it by another tag now; the lock is held."""
        self.tags.pop(held.tag, None)
        held.tag = tag
        self.tags[tag] = held

    def valid(self, held: Held) -> bool:
        """Whether the server still knows it as ours."""
        return held.session == self._session and held.tag in self.tags

    def ends(self, tags: set[int]) -> list[tuple[int, bool]]:
        """What to acknowledge so that `tags` are: each tag, and whether all before it are meant too.

        The lock is held.
        """
        contiguous = 0
        for tag in self.tags:
            if tag not in tags:
                break
            contiguous = tag
        ends = [(contiguous, True)] if contiguous else []
        for tag in sorted(tags):
            if tag > contiguous:
                ends.append((tag, False))
            self.tags.pop(tag, None)
        return ends

    def forget(self, tags: Iterable[int]) -> None:
        """They are no longer outstanding; the lock is held."""
        for tag in tags:
            self.tags.pop(tag, None)

    def still_held(self, held: Held, ended: bool) -> bool:
        """Whether the server still knows it as ours; if not, it is lost (see `lose`)."""
        with self.lock:
            kept = self.valid(held)
            if not kept:
                self._lose(held, ended)
        return kept

    def claim(self, tokens: Sequence[Any], ended: Sequence[bool], alive: bool) -> list[Held | None]:
        """Take those that the server still knows as ours, as `take` does; the others are lost (see `lose`).

        One step: were one recognised again in between (see `known`), nobody would ever run or end it.

        Parameters:
            ended: for each, whether its task has come to its end.
            alive: whether there is a connection; without one all are lost.
        """
        found: list[Held | None] = []
        with self.lock:
            session, tags = self._session, self.tags
            for token, over in zip(tokens, ended, strict=True):
                try:
                    held = self._held.pop(token, None)
                except TypeError:
                    held = None
                if held is not None and not (alive and held.session == session and held.tag in tags):
                    self._lose(held, over)
                    held = None
                found.append(held)
        return found

    def lose(self, held: Held, ended: bool) -> None:
        """Its lease was lost; `ended` if its task has come to an end all the same."""
        with self.lock:
            self._lose(held, ended)

    def _lose(self, held: Held, ended: bool) -> None:
        if held.key is None:
            return
        if self._orphans.get(held.key) is held:
            del self._orphans[held.key]
        if ended:
            _remember(self._finished, held.key, None)

    # ── giving back ──────────────────────────────────────────────────────────────────────────────────────

    def gave_back(self, key: Key | None) -> None:
        """We gave it back ourselves, which makes nothing suspect; the lock is held."""
        if key is not None:
            _remember(self._returned, key, None)

    def given_back(self, key: Key | None) -> bool:
        """Whether it returned because we gave it back; true once for each time."""
        with self.lock:
            return key is not None and self._returned.pop(key, self) is None

    def all(self) -> tuple[list[Held], list[int]]:
        """Forget everything: what was handed out, and every outstanding tag."""
        with self.lock:
            held = [one for one in self._held.values() if self.valid(one)]
            tags = list(self.tags)
            self._held.clear()
            self.tags.clear()
            self._orphans.clear()
            for one in held:
                self.gave_back(one.key)
        return held, tags

    def counts(self) -> dict[str, int]:
        """How many are held, by queue."""
        counts: dict[str, int] = {}
        with self.lock:
            for held in self._held.values():
                if self.valid(held):
                    counts[held.queue] = counts.get(held.queue, 0) + 1
        return counts


def _remember(memory: OrderedDict[Key, Any], key: Key, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
