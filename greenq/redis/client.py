"""Commands to one server, whoever calls: a connection for each world, scripts, patience, plain errors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from greenq.redis.address import Address
from greenq.redis.failures import TEMPORARY, Unreachable, refusal
from greenq.redis.lane import ELSEWHERE, PAUSE_FIRST, PAUSE_MOST, Lane
from greenq.redis.perworld import PerWorld
from greenq.redis.resp import ReplyError
from greenq.redis.scripts import SOURCES, Script
from pools import native

__all__ = ["Client"]


class Client:
    """Commands to one server: a lane per world (usually one), scripts, and translated errors.

    Attributes:
        troubled: when a connection was lost last, on the monotonic clock; 0.0 if never.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.troubled = 0.0
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lanes = PerWorld(self._make_lane)

    def _make_lane(self) -> Lane:
        return Lane(self.address, self.lost)

    def lane(self) -> Lane:
        """The lane of the calling thread's world."""
        if self._pid != os.getpid():
            self._reset()
        return self._lanes.here()

    def lost(self) -> None:
        """Note that a connection was lost."""
        self.troubled = time.monotonic()

    def run(self, commands: Sequence[Sequence[Any]], deadline: float, again: bool = False) -> list[Any]:
        """Carry out commands in one round trip; errors that the server answered are in the list.

        Those that the server could not carry out for the moment (it loads, or a failover is under way) are
        sent again until the deadline.

        Parameters:
            again: they may be repeated if the connection is lost meanwhile.
        """
        if not commands:
            return []
        try:
            lane = self._lanes.here() if self._pid == os.getpid() else self.lane()
            replies = lane.run(commands, deadline)
        except Unreachable as error:
            if not (again and error.uncertain) or time.monotonic() >= deadline:
                raise
            replies = self._run(commands, deadline, again)
        if ReplyError not in map(type, replies):
            return replies
        pause = PAUSE_FIRST
        while refused := [i for i, reply in enumerate(replies) if self._is_temporary(reply)]:
            if time.monotonic() + pause >= deadline:
                break
            native.Signal().wait(pause)
            pause = min(pause * 2, PAUSE_MOST)
            later = self._run([commands[i] for i in refused], deadline, again)
            for i, reply in zip(refused, later, strict=True):
                replies[i] = reply
        return replies

    def _run(self, commands: Sequence[Sequence[Any]], deadline: float, again: bool) -> list[Any]:
        while True:
            try:
                return self.lane().run(commands, deadline)
            except Unreachable as error:
                if not (again and error.uncertain) or time.monotonic() >= deadline:
                    raise

    def do(self, *command: Any, deadline: float, again: bool = False) -> Any:
        """Carry out one command.

        Raises:
            Refused: the server answered with an error.
        """
        return self.done(self.run([command], deadline, again)[0])

    def all(self, commands: Sequence[Sequence[Any]], deadline: float, again: bool = False) -> list[Any]:
        """Carry out commands in one round trip; the first error that the server answered is raised."""
        return [self.done(reply) for reply in self.run(commands, deadline, again)] if commands else []

    def done(self, reply: Any) -> Any:
        """Return a reply, or raise the error that it is."""
        if type(reply) is ReplyError:
            raise refusal(str(reply))
        return reply

    def script(self, script: Script, arguments: Sequence[Any], deadline: float, again: bool = False) -> Any:
        """Run a script, which the server may have to be given first."""
        keys = self.declared(arguments) if self.address.cluster else []
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        reply = self.run([command], deadline, again)[0]
        if type(reply) is ReplyError and str(reply).startswith("NOSCRIPT"):
            self.all([("SCRIPT", "LOAD", source) for source in SOURCES], deadline, True)
            reply = self.run([command], deadline, again)[0]
        return reply if type(reply) is not ReplyError else self.done(reply)

    def declared(self, arguments: Iterable[Any]) -> list[str]:
        """The keys among a script's arguments, where the server must know them: in a cluster.

        While a slot moves to another node, only what was declared keeps a script from running on half of it.
        """
        if not self.address.cluster:
            return []
        prefix = self.address.prefix
        return list(dict.fromkeys(a for a in arguments if type(a) is str and a.startswith(prefix)))

    def _is_temporary(self, reply: Any) -> bool:
        if type(reply) is not ReplyError:
            return False
        code = str(reply).partition(" ")[0]
        return code in TEMPORARY or (self.address.cluster and code in ELSEWHERE)

    def close(self) -> None:
        """End all connections. Idempotent."""
        if self._pid == os.getpid():
            for lane in self._lanes.all():
                lane.close()
