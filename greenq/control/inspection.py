"""Look into workers: ``app.control.inspect()``.

Source: celery/app/control.py (``Inspect``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

__all__ = ["Inspect", "by_node"]

log = logging.getLogger("greenq.control")


class Broadcaster(Protocol):
    """The part of `Control` that is needed here."""

    def broadcast(
        self, command: str, arguments: Mapping[str, Any] | None = None, **options: Any
    ) -> list[dict[str, Any]] | None:
        """See `Control.broadcast`."""


def by_node(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A list of answers as one mapping; two nodes of one name are told in the log."""
    found: dict[str, Any] = {}
    for reply in replies:
        for node, answer in reply.items():
            if node in found:
                log.warning("several nodes are called %s: give each a name of its own (worker.node)", node)
            found[node] = answer
    return found


class Inspect:
    """Questions to workers. Each answer is by node; None if nobody answered.

    Parameters:
        destination: names of the nodes that are asked, or one name, whose answer is then returned alone.
        timeout: seconds of silence after which no more answers are waited for.
    """

    def __init__(
        self,
        control: Broadcaster,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self._control = control
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask anything, such as a command of one's own."""
        one = self.destination if isinstance(self.destination, str) else None
        replies = self._control.broadcast(
            command, arguments, destination=[one] if one is not None else self.destination,
            callback=self.callback, limit=self.limit, timeout=self.timeout, reply=True,
            pattern=self.pattern, matcher=self.matcher,
        )  # fmt: skip
        if not replies:
            return None
        found = by_node(replies)
        if one is not None:
            return found.get(one)
        return {node: answer for node, answer in found.items() if self._fits(node)}

    _request = ask

    def _fits(self, node: str) -> bool:
        if not self.pattern:
            return True
        if self.matcher == "pcre":
            return re.match(self.pattern, node) is not None
        return fnmatchcase(node, self.pattern)

    def ping(self, destination: Sequence[str] | None = None) -> Any:
        """Who is there."""
        if destination is not None:
            self.destination = destination
        return self.ask("ping")

    def active(self, safe: bool | None = None) -> Any:
        """The tasks that run; `safe` gives their arguments as text."""
        return self.ask("active", safe=safe)

    def reserved(self, safe: bool | None = None) -> Any:
        """The tasks that wait in a worker for a free slot."""
        return self.ask("reserved")

    def scheduled(self, safe: bool | None = None) -> Any:
        """The tasks that wait in a worker for their time: none, as they wait in the broker."""
        return self.ask("scheduled")

    def revoked(self) -> Any:
        """The ids of revoked tasks."""
        return self.ask("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """The tasks that workers can run."""
        return self.ask("registered", taskinfoitems=taskinfoitems)

    def query_task(self, *ids: Any) -> Any:
        """What becomes of tasks, by their ids."""
        wanted = ids[0] if len(ids) == 1 and isinstance(ids[0], list | tuple) else ids
        return self.ask("query_task", ids=wanted)

    def stats(self) -> Any:
        """Counters and sizes."""
        return self.ask("stats")

    def active_queues(self) -> Any:
        """The queues that workers take from."""
        return self.ask("active_queues")

    def clock(self) -> Any:
        """Their logical clocks."""
        return self.ask("clock")

    def conf(self, with_defaults: bool = False) -> Any:
        """Their configuration, secrets masked."""
        return self.ask("conf", with_defaults=with_defaults)

    def report(self) -> Any:
        """Versions and configuration, for bug reports."""
        return self.ask("report")

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """What a worker asks that starts."""
        return self.ask("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """How much memory they have."""
        return self.ask("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """What `memsample` has noted."""
        return self.ask("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """Draw what keeps objects of a type alive."""
        return self.ask("objgraph", num=n, max_depth=max_depth, type=type)
