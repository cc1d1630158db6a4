"""Elections: of all workers that hear of something, one does it.

Source: celery/worker/consumer/gossip.py: the events, and who wins (the lowest clock, then the lowest name).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from greenq.codecs import Codecs
from greenq.errors import GreenqError
from greenq.radio import Post

__all__ = ["Elections"]

log = logging.getLogger("greenq.elections")

VOTING = 2.0
"""Seconds in which all workers have told that they stand."""
MOST = 1000
"""Elections at once; what comes beyond that is not heard."""


class Election:
    """One that is under way."""

    def __init__(self) -> None:
        self.due = time.monotonic() + VOTING
        self.candidates: list[tuple[int, str, str, Any]] = []
        """Clock, name, topic and action of each."""


class Elections:
    """Takes part in elections.

    Parameters:
        name: this worker's: node and process id.
        tell: sends an event.
        topics: by topic, what the winner does.
    """

    def __init__(
        self,
        name: str,
        codecs: Codecs,
        tell: Callable[..., None],
        topics: Mapping[str, Callable[[Any], None]],
    ) -> None:
        self._name = name
        self._codecs = codecs
        self._tell = tell
        self._topics = topics
        self._held: dict[str, Election] = {}

    def hold(self, id: str, topic: str, action: Any) -> None:
        """Stand in an election; the events make it known to all."""
        self._tell("worker-elect", id=id, topic=topic, action=action, cver=1)

    def take(self, post: Post) -> None:
        """An event of an election has come, this worker's own among them."""
        if post.key != "worker.elect":
            return
        try:
            event = self._codecs.decode(post.body, post.content_type, post.content_encoding)
            id, clock = str(event["id"]), int(event["clock"])
            name = f"{event['hostname']}.{event['pid']}"
            candidate = (clock, name, str(event["topic"]), event["action"])
        except (GreenqError, KeyError, TypeError, ValueError) as error:
            log.warning("an event of an election cannot be read: %r", error)
            return
        if id not in self._held and len(self._held) >= MOST:
            return
        self._held.setdefault(id, Election()).candidates.append(candidate)
        self._tell("worker-elect-ack", id=id)

    def count(self) -> float | None:
        """Count the votes of elections that are over; when the next one is."""
        for id, election in list(self._held.items()):
            if election.due > time.monotonic():
                continue
            del self._held[id]
            _, winner, topic, action = min(election.candidates, key=lambda one: one[:2])
            log.info("%s is elected for %a", winner, id)
            if winner == self._name:
                self._act(topic, action)
        return min((election.due for election in self._held.values()), default=None)

    def _act(self, topic: str, action: Any) -> None:
        act = self._topics.get(topic)
        if act is None:
            log.error("an election was about %a, which this worker knows nothing of", topic)
            return
        try:
            act(action)
        except Exception:
            log.exception("what this worker was elected for failed")
