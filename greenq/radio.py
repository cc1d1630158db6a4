"""The Radio contract: what nodes say to whoever listens at that moment, beside the messages that are kept.

Remote control and events go over it, in the exchanges and the format that Celery's tools use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Post", "Radio", "ReplyBox"]


@dataclass(slots=True)
class Post:
    """One thing that is said.

    Parameters:
        exchange: whose listeners hear it.
        key: the routing key: which of them.
        body: encoded, as `content_type` says.
        headers: what goes with it.
    """

    exchange: str
    key: str
    body: bytes
    headers: dict[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"
    content_encoding: str = "utf-8"


class ReplyBox(ABC):
    """Where the answers to one request arrive; forgotten with `close`."""

    @abstractmethod
    def next(self, timeout: float) -> Post | None:
        """The next answer; None if none came within `timeout` seconds.

        Raises:
            BrokerError: the broker is away.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for no more answers. Idempotent."""


class Radio(ABC):
    """Says things to nodes, and hears what others say.

    Calls may be made from any thread or green thread and wait as their caller's world waits; errors are
    translated to `BrokerUnreachable` and `BrokerError`.
    """

    carries_events: bool = True
    """Whether other programs may listen to events here; else workers send none."""

    @abstractmethod
    def announce(self, posts: Sequence[Post], timeout: float) -> None:
        """Say something to all who listen to the posts' exchange (a fanout) and key.

        Nobody need listen; on a lost connection it may be lost.
        """

    @abstractmethod
    def publish_events(self, posts: Sequence[Post], timeout: float) -> None:
        """The same on an exchange of events, whose listeners choose among keys by pattern."""

    @abstractmethod
    def reply(self, posts: Sequence[Post], timeout: float) -> None:
        """Answer requests: each post goes to the box that its exchange has for its key, if that is there."""

    @abstractmethod
    def listen(self, exchange: str, node: str, heard: Callable[[Post], None]) -> None:
        """Hear what is announced on a fanout exchange, from now on and until `close`.

        A lost connection is made again. What is said meanwhile may not be heard.

        Parameters:
            node: who listens.
            heard: called in a native thread; must not wait.
        """

    @abstractmethod
    def follow(self, exchange: str, node: str, key: str, heard: Callable[[Post], None]) -> None:
        """Hear the events of an exchange whose key begins with these words, in the same way."""

    @abstractmethod
    def box(self, exchange: str, key: str, timeout: float) -> ReplyBox:
        """A box for answers, which is there when this returns."""

    # ── what is remembered ───────────────────────────────────────────────────────────────────────────────

    remembers: bool = False
    """Whether it keeps what `remember` is told."""

    def remember(self, members: Sequence[str], seconds: float, most: int, timeout: float) -> None:
        """Keep these texts for nodes that start later.

        Parameters:
            seconds: how long.
            most: how many are kept of all that were ever said; of more the oldest are forgotten.
        """
        return

    def remembered(self, seconds: float, timeout: float) -> list[str]:
        """What was remembered and is not older than that, oldest first."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Listen no more. Idempotent."""
