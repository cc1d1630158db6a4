"""One channel: answers come in the order of the questions, and what nobody asked for goes to handlers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from greenq.amqp.failures import Failure, Late
from pools import native

__all__ = ["Answer", "Channel", "Reply"]

Answer = tuple[int, bytes, bytes, bytes]
"""Method, its payload, the header and the body of its content."""


class Reply:
    """The answers to some questions that were asked in one go."""

    __slots__ = ("answers", "error", "missing", "signal")

    def __init__(self, count: int) -> None:
        self.missing = count
        self.answers: list[Answer] = []
        self.error: Failure | None = None
        self.signal = native.Signal()

    def wait(self, deadline: float) -> list[Answer]:
        """Wait for all of them.

        Raises:
            Failure: the channel or the connection ended, or the answers came too late.
        """
        if not self.signal.wait(max(0.0, deadline - time.monotonic())):
            raise Late("RabbitMQ does not answer in time", True)
        if self.error is not None:
            raise self.error
        return self.answers


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
        self.on_got: Callable[[bytes], None] = nothing
        self.on_return: Callable[[bytes, bytes], None] = nothing
        self.on_confirm: Callable[[int, bool, bool], None] = nothing
        self.on_cancel: Callable[[str], None] = nothing
        self.on_lost: Callable[[Failure], None] = nothing
        self.expects: Callable[[], Any] = nothing
        """Tells whether somebody waits for what comes without being an answer."""

    def awaited(self) -> bool:
        """Whether somebody waits for anything from here."""
        return bool(self.pending or self.expects())

    def answered(self, answer: Answer) -> None:
        """An answer has come."""
        if not self.pending:
            return
        reply = self.pending[0]
        reply.answers.append(answer)
        reply.missing -= 1
        if reply.missing <= 0:
            self.pending.popleft()
            reply.signal.set()

    def end(self, error: Failure) -> None:
        """Nothing more will come; tell all who wait. Idempotent."""
        if self.lost is not None:
            return
        self.lost = error
        pending, self.pending = self.pending, deque()
        for reply in pending:
            reply.error = error
            reply.signal.set()
        self.on_lost(error)
