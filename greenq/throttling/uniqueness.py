"""Unique tasks: a call takes its key before it is sent, and who runs it gives the key back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from greenq.errors import AlreadyQueued, GreenqError, PublishTimeout
from greenq.message import Message
from greenq.protocol import is_storable
from greenq.throttling.base import Claim, ThrottleStore
from greenq.throttling.rules import Unique

__all__ = ["HEADER", "OPTIONS", "Uniqueness", "held_by"]

HEADER = "greenq_unique"
"""``end:<key>`` or ``start:<key>``: until when a message's task holds which key."""
OPTIONS = frozenset({"unique", "unique_for", "unique_until", "on_duplicate"})
"""The options of a call that say it."""


class Uniqueness:
    """Takes keys for messages that are about to be sent.

    Parameters:
        store: where keys are held.
        ended: whether a task's end is recorded: then its process died before it could give its key back.
        timeout: seconds that a question may take.
    """

    def __init__(
        self, store: Callable[[], ThrottleStore], ended: Callable[[str], bool], timeout: float
    ) -> None:
        self._store = store
        self._ended = ended
        self._timeout = timeout

    def take(
        self, message: Message, rule: Unique, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str | None:
        """Take the key of a call.

        Returns:
            None if it is this one's now, or the id of the task whose result is this call's too.

        Raises:
            AlreadyQueued: another task has it.
        """
        key = rule.key(args, kwargs)
        if key is None:
            return None
        id = message.headers["id"]
        message.headers[HEADER] = f"{'start' if rule.until_start else 'end'}:{key}"
        claim = Claim(key, id, rule.seconds)
        holder = self._store().hold([claim], self._timeout)[0]
        if holder is not None and self._ended(holder):
            again = Claim(key, id, rule.seconds, instead=holder)
            holder = self._store().hold([again], self._timeout)[0]
        if holder is None or rule.returns:
            return holder
        raise AlreadyQueued(
            f"{rule.task} is unique, and {holder} has not {'started' if rule.until_start else 'ended'} yet: "
            "wait for that one, or declare on_duplicate='return' to get its result",
            holder,
        )

    def give_back(self, message: Message, problem: GreenqError) -> None:
        """Give a key back whose message was not sent; one that may have arrived keeps it."""
        held = held_by(message)
        if held is not None and not isinstance(problem, PublishTimeout):
            self._store().free([held[1:]], self._timeout)


def held_by(message: Message | None) -> tuple[str, str, str] | None:
    """Until when a message's task holds what: ``("end", key, id)``, or None."""
    if message is None or type(message.headers) is not dict:
        return None
    held, id = message.headers.get(HEADER), message.headers.get("id")
    if type(held) is not str or type(id) is not str:
        return None
    until, colon, key = held.partition(":")
    return (until, key, id) if colon and is_storable(held) and is_storable(id) else None
