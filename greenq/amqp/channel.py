"""One channel: answers come in the order of the questions, and what nobody asked for goes to handlers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from greenq.amqp.failures import Failure, Late
from pools.bell import Bell

__all__ = ["Answer", "Channel", "Reply"]

Answer = tuple[int, bytes, bytes, bytes]
"""Method, its payload, the header and the body of its content."""


class Reply:
    """The answers to some questions that were asked in one go.

    Parameters:
        spent: those that were waited for before, to be used again: this one goes there too.

    Attributes:
        missing: how many have not come; set for each use.
        answers: those that have; a new list for each use.
        done: whether they are all there, or an error; set before the bell is rung.
    """

    __slots__ = ("answers", "bell", "done", "error", "missing", "spent")

    def __init__(self, spent: list[Reply]) -> None:
        self.missing = 0
        self.answers: list[Answer] = []
        self.error: Failure | None = None
        self.bell = Bell()
        self.done = False
        self.spent = spent

    def wait(self, deadline: float) -> list[Answer]:
        """Wait for all of them.

        Raises:
            Failure: the channel or the connection ended, or the answers came too late.
        """
        # Waited for even if it is done: a bell that was rung and not heard must not be used again.
        if self.bell.wait(deadline - time.monotonic()) and self.error is None:
            # Kept until it is used again, it must not keep messages.
            answers, self.answers = self.answers, SPENT
            self.spent.append(self)
            return answers
        return self.unheard()

    def unheard(self) -> list[Answer]:
        """The same where the bell was not heard in time, or brought an error.

        Raises:
            Failure: as `wait` does, if the answers have not come at the last moment.
        """
        if not self.done:
            raise Late("RabbitMQ does not answer in time", True)
        if self.error is not None:
            raise self.error.again()
        return self.answers


SPENT: list[Answer] = []
"""The answers of a reply that waits to be used again; nobody changes it."""


def nothing(*_: Any) -> None:
    """What a channel does with messages that nobody expects."""


class Channel:
    """A channel of a connection; its handlers run in the connection's thread and must not wait.

    Attributes:
        lost: why it is of no more use; None while it is.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.lost: Failure | None = None
        self.pending: deque[Reply] = deque()
        self.on_deliver: Callable[[bytes, bytes, bytes], None] = nothing
        self.on_got: Callable[[int], None] = nothing
        self.on_return: Callable[[bytes, bytes], None] = nothing
        self.on_confirm: Callable[[int, bool, bool], None] = nothing
        self.on_cancel: Callable[[str], None] = nothing
        self.on_lost: Callable[[Failure], None] = nothing
        self.on_look: Callable[[], None] = nothing
        """Called at least every half second."""
        self.expects: Callable[[], Any] = nothing
        """Tells whether somebody waits for what comes without being an answer."""

    def awaited(self) -> bool:
        """Whether somebody waits for anything from here."""
        return bool(self.pending or self.expects())

    def end(self, error: Failure) -> None:
        """Nothing more will come; tell all who wait. Idempotent."""
        if self.lost is not None:
            return
        self.lost = error
        pending, self.pending = self.pending, deque()
        for reply in pending:
            reply.error = error
            reply.done = True
            reply.bell.ring()
        self.on_lost(error)
        # Those that it called refer to it.
        self.on_deliver = self.on_got = self.on_return = self.on_confirm = nothing
        self.on_cancel = self.on_lost = self.on_look = self.expects = nothing
