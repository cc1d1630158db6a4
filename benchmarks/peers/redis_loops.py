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


BATCH = 100

if inside():
    import json
    import os
    import time
    from base64 import b64decode
    from itertools import cycle

    from benchmarks.peers import greenq
    from benchmarks.redis_link import Link, pack

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
        """Acknowledges the batch that has been called, and takes the one after the next, with one request.

        Each message is moved to a list of those in flight in one step; that is dropped when all of its batch
        have been called: so a crash loses none. The server moves a batch while the one before it is called.
        """

        def __init__(self, link: Link) -> None:
            self._turns = cycle([_turn(b"in-flight-%d-%d" % (os.getpid(), i)) for i in range(2)])
            link.send(next(self._turns))

        def __call__(self, link: Link) -> int:
            _, *taken = link.replies(1 + BATCH)
            link.send(next(self._turns))
            messages = [raw for raw in taken if raw is not None]
            for raw in messages:
                call(raw)
            return len(messages)

    def _turn(flight: bytes) -> bytes:
        take = pack((b"LMOVE", b"celery", flight, b"RIGHT", b"LEFT"))
        return pack((b"DEL", flight)) + BATCH * take

    if __name__ == "__main__":
        link = Link(redis_url())
        turn = Leases(link) if variant() == "loop" else pop
        while True:
            if not turn(link):
                time.sleep(0.01)
