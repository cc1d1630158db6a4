"""Dead letters on brokers that only know queues: each queue has another one for them.

A queue cannot be read without taking from it, so to list its letters each is taken, looked at and sent again
to the end; after one round the order is what it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from greenq.brokers.channel import Channel, Found
from greenq.message import DeadLetter, Message

__all__ = ["Graveyard", "grave_of", "queue_of"]

DEAD = "greenq_dead"
"""Header of a dead letter: what is known about its death."""
_SUFFIX = "-greenq-dead"
MOST = 100_000
"""Letters that are looked through at once."""


def grave_of(queue: str) -> str:
    """The queue that holds the dead letters of another."""
    return queue + _SUFFIX


def queue_of(name: str) -> str | None:
    """The queue whose dead letters are in the one of this name, or None if it is no such queue."""
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else None


def _text(text: str | None) -> str | None:
    """Make what an exception said fit to be sent: it may hold half a surrogate pair."""
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode()


class Graveyard:
    """The dead letters; belongs to the thread that owns the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def add(self, queue: str, found: Found, reason: str | None, trace: str | None) -> None:
        """Keep a message that was given up, and have the broker forget it in its queue."""
        about = {
            "key": os.urandom(8).hex(),
            "reason": _text(reason) or "",
            "trace": _text(trace),
            "died": time.time(),
            "unreadable": found.message is None,
        }
        letter = found.message or Message(queue, {}, found.raw, "application/octet-stream", "binary")
        self._channel.declare(grave_of(queue), ours=True)
        self._channel.put(grave_of(queue), letter, {DEAD: about})
        self._channel.ack(found)

    def letters(self, queues: Iterable[str]) -> list[DeadLetter]:
        """All letters of some queues, the newest first."""
        found: list[DeadLetter] = []

        def note(letter: DeadLetter) -> bool:
            found.append(letter)
            return False

        for queue in queues:
            self._go_round(queue, note)
        return sorted(found, key=lambda letter: letter.died, reverse=True)

    def replay(self, queues: Iterable[str], key: str) -> bool:
        """Send a letter to its queue again; False if it is not there."""
        for queue in queues:
            taken = self._go_round(queue, lambda letter: letter.key == key)
            for letter in taken:
                if letter.message is not None:
                    self._channel.put(queue, letter.message)
                else:
                    self._channel.put_raw(queue, letter.raw)
            if taken:
                return True
        return False

    def _go_round(self, queue: str, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
        """Take each letter once, and send it to the end again unless it is wanted."""
        grave = grave_of(queue)
        seen: set[str] = set()
        kept: list[DeadLetter] = []
        for found in self._pulled(grave, min(self._channel.size(grave), MOST)):
            letter, about = _letter(queue, found)
            if letter.key not in seen and wanted(letter):
                kept.append(letter)
            elif found.message is not None:
                self._channel.put(grave, found.message, {DEAD: about})
            else:
                self._channel.put_raw(grave, found.raw)
            seen.add(letter.key)
            self._channel.ack(found)
        return kept

    def _pulled(self, grave: str, count: int) -> Iterator[Found]:
        """So many letters; all of them first, where each that is sent again would come again at once."""
        pulled = (found for _ in range(count) if (found := self._channel.pull(grave)) is not None)
        return iter(list(pulled)) if self._channel.address.is_stack else pulled


def _letter(queue: str, found: Found) -> tuple[DeadLetter, object]:
    message = found.message
    about = message.headers.pop(DEAD, None) if message is not None else None
    known = about if isinstance(about, dict) else {}
    raw = found.raw
    if message is not None:
        message.queue = queue
        if known.get("unreadable"):
            raw = message.body
            message = None
    letter = DeadLetter(
        str(known.get("key", "")),
        queue,
        str(known.get("reason", "")),
        float(known.get("died", 0.0)),
        message,
        raw,
        known.get("trace"),
    )
    return letter, about
