"""Look into queues and dead letters, and return what dead processes held."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from greenq.message import DeadLetter, Depth
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.keys import FANOUTS, Keys
from greenq.redis.scripts import GIVE_BACK, HEAD, PURGE, REPLAY

__all__ = ["Upkeep"]

LOOK_EVERY = 30.0
"""Seconds between looks for queues that only Celery has declared: that walks through all keys."""
NO_KEY = -2
"""What PTTL says where there is no such key."""
STEP = 0.5
"""Seconds that the server's clock may gain on ours between two looks; more is a step."""


class Upkeep:
    """What is not on a message's way.

    Parameters:
        timeout: seconds that each call may take.
    """

    def __init__(self, client: Client, keys: Keys, timeout: float) -> None:
        self._client = client
        self._keys = keys
        self._timeout = timeout
        self._found: set[str] = set()
        self._looked = float("-inf")
        self._ahead: float | None = None
        self._stepped = float("-inf")

    @property
    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    # ── queues ───────────────────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Iterable[str]) -> None:
        """Make queues known, to Celery too."""
        self._client.all(declarations(self._keys, queues), self._deadline, again=True)

    def queues(self) -> list[str]:
        """The names of all queues that greenq or Celery has declared."""
        keys = self._keys
        members = self._client.do("SMEMBERS", keys.queues, deadline=self._deadline)
        known = {name for member in members if (name := _name(member))}
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._found = self._declared_by_celery()
            self._looked = time.monotonic()
        return sorted(known | self._found)

    def _declared_by_celery(self) -> set[str]:
        keys, cursor, deadline = self._keys, b"0", self._deadline
        tables: set[bytes] = set()
        pattern = "".join(f"\\{c}" if c in "*?[]\\^" else c for c in keys.binding("")) + "*"
        while True:
            cursor, some = self._client.do(
                "SCAN", cursor, "MATCH", pattern, "COUNT", 5000, "TYPE", "set", deadline=deadline, again=True
            )
            tables.update(some)
            if cursor == b"0":
                break
        skipped = {keys.binding(exchange).encode() for exchange in FANOUTS}
        wanted = sorted(tables - skipped)
        members = self._client.all([("SMEMBERS", table) for table in wanted], deadline, again=True)
        found = set()
        for table in members:
            for member in table:
                queue = member.decode("utf-8", "replace").split(keys.sep)[-1]
                if queue:
                    found.add(queue)
        return found

    def depth(self) -> dict[str, Depth]:
        """Count every known queue's messages by state."""
        keys, queues, deadline = self._keys, self.queues(), self._deadline
        seconds, micros = self._client.do("TIME", deadline=deadline, again=True)
        now = int(seconds) * 1000 + int(micros) / 1000
        commands: list[tuple[Any, ...]] = []
        for queue in queues:
            commands += [("LLEN", name) for name in keys.lists(queue)]
            commands += [
                ("ZCARD", keys.delayed(queue)), ("ZCOUNT", keys.delayed(queue), "-inf", now),
                ("ZCARD", keys.dead(queue)),
            ]  # fmt: skip
        replies = [r if type(r) is int else 0 for r in self._client.run(commands, deadline, again=True)]
        leased = self._leased(deadline)
        depths, width = {}, len(keys.steps) + 3
        for i, queue in enumerate(queues):
            *sizes, delayed, due, dead = replies[i * width : (i + 1) * width]
            held = sum(leased.get(name, 0) for name in keys.lists(queue))
            by_priority = {step: size for step, size in zip(keys.steps, sizes, strict=True) if size}
            depths[queue] = Depth(sum(sizes) + due, delayed - due, held, dead, by_priority)
        return depths

    def _leased(self, deadline: float) -> dict[str, int]:
        """How many messages are leased, by the list that they came from."""
        counts: dict[str, int] = {}
        processes = self._client.do("HKEYS", self._keys.processes, deadline=deadline, again=True)
        commands = [("HKEYS", self._keys.leased(name.decode())) for name in processes]
        for fields in self._client.all(commands, deadline, again=True):
            for field in fields:
                name = field[HEAD + 1 :].decode("utf-8", "replace")
                counts[name] = counts.get(name, 0) + 1
        return counts

    def purge(self, queue: str) -> int:
        """Drop what waits in a queue."""
        keys = self._keys
        return int(
            self._client.script(PURGE, (keys.delayed(queue), *keys.lists(queue)), self._deadline, again=True)
        )

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, process: str, seconds: float) -> None:
        """Begin a process's lease, or begin it anew."""
        self._client.all(renewal(self._keys, process, seconds), self._deadline, again=True)
        self._look_at_clock()

    def expired(self, but: str | None, trusted: float) -> list[str]:
        """The processes whose lease ran out.

        Parameters:
            trusted: for how many seconds everybody could have renewed, as far as this process knows.
        """
        keys, deadline = self._keys, self._deadline
        found = self._client.do("HGETALL", keys.processes, deadline=deadline, again=True)
        names = _leases(_pairs(found))
        names.pop(but or "", None)
        left = self._client.all([("PTTL", keys.lease(name)) for name in names], deadline, again=True)
        pairs = list(zip(names.items(), left, strict=True))
        # A lease that is longer than it was made is from before the server's clock was set back.
        long = [("PEXPIRE", keys.lease(name), ms) for (name, ms), rest in pairs if rest > ms + STEP * 1000]
        self._client.all(long, deadline, again=True)
        gone = {name: ms / 1000 for (name, ms), rest in pairs if rest == NO_KEY}
        self._look_at_clock()
        if not gone:
            return []
        info = self._client.do("INFO", "server", deadline=deadline, again=True)
        name = b"uptime_in_seconds:"
        up: float = next(int(line[len(name) :]) for line in info.split(b"\r\n") if line.startswith(name))
        # Below zero where its clock was set back: it was started before, and has forgotten nobody.
        up = up if up >= 0 else math.inf
        steady = time.monotonic() - self._stepped
        return [name for name, lease in gone.items() if lease <= min(trusted, steady, up)]

    def _look_at_clock(self) -> None:
        """Notice when the server's clock was set forward: leases then end which nobody had time to renew."""
        before = time.monotonic()
        seconds, micros = self._client.do("TIME", deadline=self._deadline, again=True)
        theirs = int(seconds) + int(micros) / 1e6
        now = time.monotonic()
        # It was asked at some time between the two: only what no delay on the way can explain counts.
        if self._ahead is not None and theirs - now > self._ahead + STEP:
            self._stepped = now
        self._ahead = theirs - before

    def give_back(self, process: str, charge: bool, only_dead: bool) -> int:
        """Return what a process holds to its queues, and forget the process.

        Parameters:
            charge: what it holds is suspect from now on.
            only_dead: do nothing if the process has renewed its lease meanwhile.
        """
        keys = self._keys
        arguments = (
            keys.leased(process), keys.lease(process), keys.processes, keys.attempts, process,
            int(charge), int(only_dead), "", "",
        )  # fmt: skip
        return int(self._client.script(GIVE_BACK, arguments, self._deadline, again=True))

    # ── dead letters ─────────────────────────────────────────────────────────────────────────────────────

    def dead(self, queue: str | None, limit: int) -> list[DeadLetter]:
        """The newest dead letters, of one queue or of all."""
        if limit < 1:
            return []
        keys, deadline = self._keys, self._deadline
        queues = self.queues() if queue is None else [queue]
        newest: list[tuple[float, bytes]] = []
        commands = [("ZREVRANGE", keys.dead(name), 0, limit - 1, "WITHSCORES") for name in queues]
        for pairs in self._client.all(commands, deadline, again=True):
            newest += [(float(died), key) for key, died in _pairs(pairs)]
        newest.sort(reverse=True)
        chosen = [key for _, key in newest[:limit]]
        if not chosen:
            return []
        about, raw = self._client.all(
            [("HMGET", keys.letters, *chosen), ("HMGET", keys.raw_letters, *chosen)], deadline, again=True
        )
        found = zip(chosen, about, raw, strict=True)
        return [
            _letter(key.decode(), json.loads(a), r) for key, a, r in found if a is not None and r is not None
        ]

    def replay(self, key: str) -> bool:
        """Send a dead letter to the list that it came from."""
        keys, deadline = self._keys, self._deadline
        try:
            about = self._client.do("HGET", keys.letters, key, deadline=deadline, again=True)
        except UnicodeEncodeError:
            return False
        if about is None:
            return False
        found = json.loads(about)
        arguments = (
            keys.letters, keys.raw_letters, keys.dead(found["queue"]), key, found["list"], keys.attempts,
        )  # fmt: skip
        return bool(self._client.script(REPLAY, arguments, deadline))

    def bury(self, queue: str | None) -> int:
        """Drop the dead letters of one queue or of all."""
        keys, deadline, count = self._keys, self._deadline, 0
        for name in self.queues() if queue is None else [queue]:
            letters = self._client.do("ZRANGE", keys.dead(name), 0, -1, deadline=deadline, again=True)
            for at in range(0, len(letters), 1000):
                some = letters[at : at + 1000]
                replies = self._client.all(
                    [
                        ("ZREM", keys.dead(name), *some),
                        ("HDEL", keys.letters, *some),
                        ("HDEL", keys.raw_letters, *some),
                    ],
                    deadline,
                )
                count += int(replies[0])
        return count


def declarations(keys: Keys, queues: Iterable[str]) -> list[tuple[str, ...]]:
    """The commands that make queues known, as kombu binds them."""
    commands: list[tuple[str, ...]] = []
    for queue in queues:
        member = keys.member(queue)
        commands += [
            ("SADD", keys.binding(queue), member),
            ("SADD", keys.permanent(queue), member),
            ("SADD", keys.queues, queue),
        ]
    return commands


def renewal(keys: Keys, process: str, seconds: float) -> list[tuple[Any, ...]]:
    """The commands that extend a process's lease."""
    milliseconds = max(1, round(seconds * 1000))
    return [
        ("SET", keys.lease(process), "", "PX", milliseconds),
        ("HSET", keys.processes, process, milliseconds),
    ]


def _pairs(reply: Any) -> Sequence[tuple[Any, Any]]:
    """Pairs, in whichever of its shapes the server gave them."""
    if isinstance(reply, dict):
        return list(reply.items())
    if reply and isinstance(reply[0], list):
        return [(one, other) for one, other in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def _name(raw: bytes) -> str:
    """A name as text; nothing if it is none, so that somebody else must have written it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""


def _leases(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
    """Processes and the milliseconds of their leases, without what cannot be a process of greenq's."""
    return {name: int(ms) for raw, ms in pairs if (name := _name(raw)) and ms.isdigit()}


def _letter(key: str, about: dict[str, Any], raw: bytes) -> DeadLetter:
    queue, reason, died, trace = about["queue"], about["reason"], about["died"], about["trace"]
    try:
        return DeadLetter(key, queue, reason, died, unpack(queue, raw), b"", trace)
    except Unreadable:
        return DeadLetter(key, queue, reason, died, None, raw, trace)
