"""Take messages and wait for them: the connection of whoever fetches."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Sequence
from typing import Any

from greenq.errors import BrokerError
from greenq.message import Delivery
from greenq.redis.address import Address
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.failures import Failure, Unreachable, refusal
from greenq.redis.keys import Keys
from greenq.redis.lane import ELSEWHERE
from greenq.redis.link import LONG_IDLE, Link
from greenq.redis.opening import open_link
from greenq.redis.perworld import PerWorld
from greenq.redis.plans import Plan
from greenq.redis.resp import ReplyError, pack_all, pack_one
from greenq.redis.scripts import FETCH, GIVE_BACK, SOURCES
from pools import native

__all__ = ["Fetcher"]

KEPT = 4
"""Idle connections that are kept for each world; one is enough for a worker."""


class Fetcher:
    """Fetches for one process.

    Waiting is left to the server: the connection asks whether the lists exist with tracking on, and the
    server tells it when any of them changes. Nothing is taken by that, and nothing polls. Only this command
    is tracked, not what the script reads: or each settlement would wake the one who waits.

    Parameters:
        process: the name that leases are held under.
        seconds: the length of its lease.
        timeout: seconds that the server may take to answer.
    """

    def __init__(
        self, address: Address, client: Client, keys: Keys, process: str, seconds: float, timeout: float
    ) -> None:
        self._address = address
        self._client = client
        self._keys = keys
        self._timeout = timeout
        self._strict = address.order == "strict"
        self.process = process
        self.seconds = seconds
        self.pid = os.getpid()
        self._nonce = secrets.token_hex(2)
        self._number = 0
        self._doubtful: list[tuple[int, int]] = []
        """Numbers of leases that a broken connection may have taken with nobody told."""
        self._lock = native.Lock()
        self._idle: PerWorld[list[Link]] = PerWorld(list)
        self._waiting: set[Link] = set()
        self._fetching = 0
        self._wakes = 0
        self._missed = False
        self._closed = False
        self._turn = 0
        self._drained = True
        self._asks_first = False
        """Whether something lies there that is not due."""
        self._plans: dict[tuple[str, ...], Plan] = {}

    def fetch(self, queues: tuple[str, ...], n: int, timeout: float) -> list[Delivery]:
        """Take up to `n`, waiting up to `timeout` seconds for the first."""
        deadline = time.monotonic() + timeout
        with self._lock:
            missed, self._missed = self._missed, False
            wakes = self._wakes
            self._fetching += 1
        try:
            failed = False
            # A busy worker only fetches; one that found less than it wanted gets ready to wait as it looks.
            arm = self._drained
            while True:
                try:
                    deliveries = self._round(queues, n, deadline, arm, missed, wakes)
                except Unreachable as error:
                    # A lost connection may be had again: try that once.
                    if not error.uncertain or failed or self._closed:
                        raise
                    failed = True
                    continue
                failed = False
                self._drained = len(deliveries) < n
                if deliveries or missed or wakes != self._wakes or time.monotonic() >= deadline:
                    return deliveries
                arm = True
        finally:
            with self._lock:
                self._fetching -= 1

    def _round(
        self, queues: tuple[str, ...], n: int, deadline: float, arm: bool, missed: bool, wakes: int
    ) -> list[Delivery]:
        """Look once, and if there is nothing and the connection is armed, wait for a change."""
        links = self._idle.here()
        link = links.pop() if links else self._connect()
        told = link.watched == queues
        link.watched = None
        if time.monotonic() - link.used >= LONG_IDLE and link.stale:
            self._discard(link)
            link = self._connect()
            told = False
        now = time.monotonic()
        pause: float | None = None
        deliveries: list[Delivery] = []
        if not told or missed or now >= deadline:
            try:
                pause, deliveries, told = self._take(link, queues, n, arm)
            except BaseException:
                self._discard(link)
                raise
            now = time.monotonic()
        if deliveries and told:
            link.watched = queues
        elif told and not missed:
            try:
                self._wait(link, deadline if pause is None else min(deadline, now + pause), wakes)
            except BaseException as error:
                self._discard(link)
                # Lost while nothing was under way, or ended by `wake`: the next look connects again.
                if isinstance(error, Unreachable):
                    return deliveries
                raise
        if len(links) < KEPT and not self._closed:
            links.append(link)
        else:
            link.close()
        return deliveries

    def wake(self) -> None:
        """Make a waiting fetch return now, or the next one if none waits."""
        with self._lock:
            self._wakes += 1
            self._missed = not self._fetching
            for link in self._waiting:
                link.interrupt()

    def close(self) -> None:
        """End the connections."""
        self._closed = True
        self.wake()
        if self.pid == os.getpid():
            for links in self._idle.all():
                while links:
                    links.pop().close()

    # ── one round trip ───────────────────────────────────────────────────────────────────────────────────

    def _take(
        self, link: Link, queues: tuple[str, ...], n: int, arm: bool
    ) -> tuple[float | None, list[Delivery], bool]:
        """Take what is there.

        Returns:
            In how many seconds the next delayed message is due, or None; the deliveries; and whether the
            server tells of the next change.
        """
        if self._doubtful:
            self._give_back_doubtful()
        plan = self._plans.get(queues) or self._make_plan(queues)
        with self._lock:
            first = self._number
            self._number += n
        places, arguments = (plan.places, plan.strict) if self._strict else self._order(plan, n)
        given = (*plan.head, n, self._nonce, first, int(arm), len(queues), *arguments)
        declared = self._client.declared(given) if self._address.cluster else []
        fetch = ("EVALSHA", FETCH.sha, len(declared), *declared, *given)
        before = arm and self._asks_first
        try:
            reply, left = self._ask(link, fetch, plan.watch if arm else b"", before)
        except BaseException:
            self._doubtful.append((first, first + n))
            raise
        if type(reply) is ReplyError:
            problem = refusal(str(reply))
            if problem.code in ELSEWHERE:
                raise Unreachable(str(problem), True)
            raise problem
        try:
            deliveries = self._deliveries(reply, first, places)
            trouble = reply[-1].decode("utf-8", "replace") if len(reply) % 3 == 2 else None
            due = None if reply[0] < 0 else reply[0] / 1000
        except (TypeError, LookupError, AttributeError) as error:
            # A proxy has mixed up connections, or it is no Redis: what was leased by this is given back.
            self._doubtful.append((first, first + n))
            raise Failure(f"the answer to a fetch makes no sense: {reply!r:.80}", True) from error
        if trouble is not None and not deliveries:
            raise BrokerError(f"a queue cannot be read: {refusal(trouble)}")
        told = not deliveries if before else left == 0
        if arm:
            # What came in between is taken by the next look, which asks first, lest it come to that again.
            self._asks_first = due is not None or not (told or deliveries)
        return due, deliveries, told

    def _ask(self, link: Link, fetch: tuple[Any, ...], watch: bytes, before: bool) -> tuple[Any, Any]:
        """Let the server take, and look after that, or `before`, at what it is to watch.

        Returns:
            The replies to both; None for the second if it was not asked.
        """
        deadline = time.monotonic() + self._timeout
        data, count = pack_one(fetch), 3 if watch else 1
        if watch:
            data = watch + data if before else data + watch
        replies = link.exchange(data, count, deadline)
        at, look = (2, 1) if before else (0, -1)
        if type(replies[at]) is ReplyError and str(replies[at]).startswith("NOSCRIPT"):
            loads = pack_all([("SCRIPT", "LOAD", source) for source in SOURCES])
            replies = link.exchange(loads + data, len(SOURCES) + count, deadline)[len(SOURCES) :]
        return replies[at], replies[look] if watch else None

    def _deliveries(self, reply: list[Any], number: int, places: Sequence[tuple[str, str]]) -> list[Delivery]:
        deliveries = []
        process, nonce = self.process, self._nonce
        for at in range(1, len(reply) - 2, 3):
            queue, name = places[reply[at]]
            deaths, messages = reply[at + 1], reply[at + 2]
            for i, raw in enumerate(messages):
                token = (process, f"{nonce}{number:010d}:{name}")
                number += 1
                attempts = deaths[i] if deaths else 0
                try:
                    deliveries.append(Delivery(unpack(queue, raw), queue, token, attempts))
                except Unreadable as problem:
                    deliveries.append(Delivery(None, queue, token, attempts, str(problem), raw))
        return deliveries

    def _wait(self, link: Link, deadline: float, wakes: int) -> None:
        """Wait until one of the lists that were looked at changes."""
        with self._lock:
            if wakes != self._wakes:
                return
            self._waiting.add(link)
        try:
            link.push(deadline)
        finally:
            with self._lock:
                self._waiting.discard(link)
        link.pushes.clear()

    def _give_back_doubtful(self) -> None:
        """What a broken connection took is this process's as long as it lives: put it back."""
        keys, process = self._keys, self.process
        while self._doubtful:
            first, after = self._doubtful[0]
            self._client.script(
                GIVE_BACK,
                (
                    keys.leased(process), keys.lease(process), keys.processes, keys.attempts, process, 0, 0,
                    f"{self._nonce}{first:010d}", f"{self._nonce}{after:010d}",
                ),
                time.monotonic() + self._timeout,
                again=True,
            )  # fmt: skip
            self._doubtful.pop(0)

    def fields(self, lists: Sequence[str]) -> list[str]:
        """Names of new leases on messages that came from these lists."""
        with self._lock:
            first = self._number
            self._number += len(lists)
        return [f"{self._nonce}{first + i:010d}:{name}" for i, name in enumerate(lists)]

    # ── several queues ───────────────────────────────────────────────────────────────────────────────────

    def _make_plan(self, queues: tuple[str, ...]) -> Plan:
        plan = self._plans[queues] = Plan(self._keys, self.process, self.seconds, queues)
        return plan

    def _order(self, plan: Plan, n: int) -> tuple[Sequence[tuple[str, str]], Sequence[Any]]:
        """Which queue comes first, and how much of it goes before the next one's turn."""
        if len(plan.parts) == 1:
            return plan.places, plan.strict
        parts = list(plan.parts)
        if self._address.order == "round_robin":
            self._turn += 1
            turn = self._turn % len(parts)
            parts = parts[turn:] + parts[:turn]
            shares = [-(-n // len(parts))] * len(parts)
        else:
            weights = dict(self._address.weights)
            heavy = {part.queue: weights.get(part.queue, 1.0) for part in parts}
            parts.sort(key=lambda part: random.random() ** (1 / heavy[part.queue]), reverse=True)
            total = sum(heavy.values())
            shares = [max(1, round(n * heavy[part.queue] / total)) for part in parts]
        places = [place for part in parts for place in part.places]
        arguments: list[Any] = []
        for part, share in zip(parts, shares, strict=True):
            arguments += [part.delayed, share, len(part.lists), *part.lists]
        return places, arguments

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> Link:
        deadline = time.monotonic() + self._timeout
        link = open_link(self._address, deadline)
        try:
            for reply in link.call([("CLIENT", "TRACKING", "ON", "OPTIN", "NOLOOP")], deadline):
                self._client.done(reply)
        except Failure:
            link.close()
            raise
        return link

    def _discard(self, link: Link) -> None:
        link.close()
        self._client.lost()
