"""Send messages: many in one round trip, each confirmed by the server's answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from greenq.errors import GreenqError, PublishError, PublishTimeout
from greenq.message import Message
from greenq.redis.client import Client
from greenq.redis.envelope import pack
from greenq.redis.exchanges import Exchanges
from greenq.redis.failures import Failure, refusal
from greenq.redis.keys import Keys
from greenq.redis.resp import ReplyError
from greenq.redis.upkeep import declarations

__all__ = ["Publisher"]

CHUNK = 1000
CHUNK_BYTES = 4_000_000
"""Messages, and their bytes, of one command."""


class Publisher:
    """Puts messages on kombu's lists."""

    def __init__(self, client: Client, keys: Keys, exchanges: Exchanges) -> None:
        self._client = client
        self._keys = keys
        self._exchanges = exchanges
        self._declared: set[str] = set()
        self._undeclared: set[str] = set()

    def publish(self, messages: Sequence[Message], deadline: float) -> list[GreenqError | None]:
        """Send messages; for each None, or why it was not, or may not have been, sent.

        Raises:
            Failure: none was sent.
        """
        errors: list[GreenqError | None] = [None] * len(messages)
        commands: list[list[Any]] = []
        places: list[list[int]] = []
        outward: list[int] = []
        size = 0
        for i, message in enumerate(messages):
            if message.exchange:
                outward.append(i)
                continue
            try:
                raw = pack(message)
            except PublishError as error:
                errors[i] = error
                continue
            if message.queue not in self._declared:
                self._undeclared.add(message.queue)
            command = self._command(message, raw)
            size += len(raw)
            room = bool(places) and len(places[-1]) < CHUNK and size < CHUNK_BYTES
            if room and command[:2] == commands[-1][:2]:
                commands[-1] += command[2:]
                places[-1].append(i)
            else:
                commands.append(command)
                places.append([i])
                size = len(raw)
        if commands:
            self._send(commands, places, errors, deadline)
        if outward:
            self._send_outward(messages, outward, errors, deadline)
        return errors

    def _send_outward(
        self,
        messages: Sequence[Message],
        outward: Sequence[int],
        errors: list[GreenqError | None],
        deadline: float,
    ) -> None:
        """Send what goes through exchanges: a copy to each queue that is bound, and to who listens."""
        found = self._exchanges.spread([messages[i] for i in outward], deadline)
        commands: list[list[Any]] = []
        places: list[list[int]] = []
        for i, (copies, channel, problem) in zip(outward, found, strict=True):
            errors[i] = problem
            try:
                sent = [self._command(copy, pack(copy)) for copy in copies]
                if channel is not None:
                    sent.append(["PUBLISH", channel, pack(replace(messages[i], queue=messages[i].exchange))])
            except PublishError as error:
                errors[i] = error
                continue
            self._undeclared.update(copy.queue for copy in copies if copy.queue not in self._declared)
            commands += sent
            places += [[i]] * len(sent)
        if commands:
            self._send(commands, places, errors, deadline)

    def announce(self, messages: Iterable[Message], deadline: float) -> None:
        """Make the queues of messages known that others will put there."""
        unknown = {message.queue for message in messages} - self._declared
        if unknown:
            self._client.all(declarations(self._keys, unknown), deadline, again=True)
            self._declared |= unknown

    def _command(self, message: Message, raw: bytes) -> list[Any]:
        name = self._keys.list_of(message.queue, message.priority)
        if message.due is None or message.headers.get("eta") is not None or message.due <= time.time():
            return ["LPUSH", name, raw]
        # A due time that is not in the headers would be lost on a list: no Celery worker could know it.
        size = len(name.encode())
        member = b"%05d%b%b%b" % (size, name.encode(), secrets.token_hex(7).encode(), raw)
        return ["ZADD", self._keys.delayed(message.queue), message.due * 1000, member]

    def _send(
        self,
        commands: list[list[Any]],
        places: list[list[int]],
        errors: list[GreenqError | None],
        deadline: float,
    ) -> None:
        failed: GreenqError | None = None
        undeclared, self._undeclared = self._undeclared, set()
        sent = [*commands, *declarations(self._keys, undeclared)]
        try:
            replies = self._client.run(sent, deadline)
        except Failure as error:
            if not error.uncertain:
                raise
            failed = PublishTimeout(f"{error}: the message may have arrived")
            replies = [None] * len(commands)
        else:
            # Whatever became of the messages, the next ones need not say again that there is such a queue.
            self._declared |= undeclared
        for reply, some, command in zip(replies, places, commands, strict=False):
            if type(reply) is ReplyError:
                problem: GreenqError | None = _refused(command, reply)
            else:
                problem = failed
            if problem is not None:
                for i in some:
                    errors[i] = problem


def _refused(command: Sequence[Any], reply: ReplyError) -> PublishError:
    refused = refusal(str(reply))
    about = f"the list {command[1]!r:.80}: " if refused.code == "WRONGTYPE" else ""
    return PublishError(f"{about}{refused}; nothing was sent")
