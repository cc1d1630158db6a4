"""What Redis allows: loops without any task queue around them, on messages that greenq has sent."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, redis_url, variant


class Yardstick(Peer):
    """One thread, one connection, no waiting."""

    redis: ClassVar[bool] = True
    only: ClassVar[tuple[str, ...]] = ("noop",)
    portion: ClassVar[float] = 10.0

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


class Pop(Yardstick):
    """A hundred with each `RPOP`, decoded and called. A crash would lose them."""

    name: ClassVar[str] = "(bare RPOP, Redis)"
    variant: ClassVar[str] = "pop"


class Loop(Yardstick):
    """Taken and leased in one step, decoded, called, and acknowledged: the least that loses nothing."""

    name: ClassVar[str] = "(the loop, Redis)"
    variant: ClassVar[str] = "loop"


TAKE = b"""
local messages = redis.call('RPOP', KEYS[1], ARGV[1])
if not messages then return {} end
local fields = {}
for i, message in ipairs(messages) do
  fields[2 * i - 1] = ARGV[2] + i
  fields[2 * i] = message
end
redis.call('HSET', KEYS[2], unpack(fields))
return messages
"""
"""Lease up to so many messages under the numbers that follow the given one."""

BATCH = 100

if inside():
    import json
    import time
    from base64 import b64decode

    from benchmarks.peers import greenq
    from benchmarks.redis_link import Link

    def load(task: str, count: int) -> None:
        greenq.load(task, count)

    def call(raw: bytes) -> None:
        envelope = json.loads(raw)
        assert envelope["headers"]["task"] == "noop"
        args, kwargs, _ = json.loads(b64decode(envelope["body"]))
        tick(*args, **kwargs)

    def pop(link: Link) -> int:
        messages = link.do(b"RPOP", b"celery", b"%d" % BATCH) or []
        for raw in messages:
            call(raw)
        return len(messages)

    class Leases:
        """Takes, calls and acknowledges one batch after the other."""

        def __init__(self, link: Link) -> None:
            self._sha: bytes = link.do(b"SCRIPT", b"LOAD", TAKE)
            self._number = 0

        def __call__(self, link: Link) -> int:
            first = self._number
            take = (b"2", b"celery", b"in-flight", b"%d" % BATCH, b"%d" % first)
            messages = link.do(b"EVALSHA", self._sha, *take)
            for raw in messages:
                call(raw)
            if messages:
                self._number += len(messages)
                link.do(b"HDEL", b"in-flight", *(b"%d" % n for n in range(first + 1, self._number + 1)))
            return len(messages)

    if __name__ == "__main__":
        link = Link(redis_url())
        turn = Leases(link) if variant() == "loop" else pop
        while True:
            if not turn(link):
                time.sleep(0.01)
