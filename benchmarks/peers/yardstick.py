"""What the ground allows: loops without any task queue around them, on messages that greenq has sent."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, redis_url, variant


class Yardstick(Peer):
    """One thread, one connection, no waiting: what sleeps is not for it."""

    redis: ClassVar[bool] = True
    many: ClassVar[bool] = False

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
    import socket
    import time
    from base64 import b64decode
    from typing import Any
    from urllib.parse import urlsplit

    from benchmarks.peers import greenq

    def load(task: str, count: int) -> None:
        greenq.load(task, count)

    class Link:
        """One connection, one command at a time."""

        def __init__(self, url: str) -> None:
            import hiredis

            parts = urlsplit(url)
            self._socket = socket.create_connection((parts.hostname, parts.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = hiredis.Reader()

        def do(self, *words: bytes) -> Any:
            self._socket.sendall(
                b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
            )
            while (reply := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(1 << 20))
            return reply

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
