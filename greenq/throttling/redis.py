"""Limits in Redis, by the server's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from greenq.errors import BrokerError, BrokerUnreachable
from greenq.redis.address import Address, parse
from greenq.redis.client import Client
from greenq.redis.resp import ReplyError
from greenq.redis.scripts import Script
from greenq.serverfailures import Translation
from greenq.throttling.base import Ask, Claim, Slot, ThrottleStore
from greenq.throttling.scripts import ADMIT, FREE, HOLD, LEAVE, RENEW, RETAKE, SECOND

__all__ = ["RedisThrottle"]

T = TypeVar("T")

CHUNK = 200
"""Tasks of one step: a script must not hold the server for long."""


_translation = Translation(BrokerError, BrokerUnreachable)


class RedisThrottle(ThrottleStore):
    """Keeps limits in Redis or Valkey.

    Parameters:
        url: see `greenq.redis.address.parse`.

    Raises:
        ConfigError: the address has a mistake.
    """

    def __init__(self, url: str) -> None:
        self.address: Address = parse(url)
        self._client = Client(self.address)
        self._prefix = f"{self.address.prefix}greenq.throttle"
        self._pauses = f"{self.address.prefix}greenq.paused"
        self._closed = False

    def hold(self, claims: Sequence[Claim], timeout: float) -> list[str | None]:
        deadline = time.monotonic() + timeout
        holders: list[str | None] = []
        for some in _chunks(claims):
            arguments: list[Any] = []
            for claim in some:
                milliseconds = max(1, int(claim.seconds * 1000))
                arguments += (self._key(claim.key), claim.id, milliseconds, claim.instead or "")
            reply = self._call(HOLD, arguments, deadline)
            holders += [holder.decode("utf-8", "replace") or None for holder in reply]
        return holders

    def free(self, holds: Sequence[tuple[str, str]], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for some in _chunks(holds):
            self._call(FREE, [part for key, id in some for part in (self._key(key), id)], deadline)

    def admit(self, asks: Sequence[Ask], timeout: float) -> list[float]:
        deadline = time.monotonic() + timeout
        dues: list[float] = []
        for some in _chunks(asks):
            arguments: list[Any] = [f"{self._prefix}.places"]
            for ask in some:
                arguments += (ask.id, ask.owner, _micros(ask.lease), len(ask.limits))
                for limit in ask.limits:
                    arguments += (
                        self._key(limit.key), limit.slots, _micros(limit.interval), _micros(limit.tolerance)
                    )  # fmt: skip
            dues += [due / SECOND for due in self._call(ADMIT, arguments, deadline)]
        return dues

    def renew(self, slots: Sequence[Slot], seconds: float, timeout: float) -> list[Slot]:
        deadline = time.monotonic() + timeout
        lost: list[Slot] = []
        for some in _chunks(slots):
            reply = self._call(RENEW, [_micros(seconds), *self._parts(some)], deadline)
            lost += [some[int(place)] for place in reply]
        return lost

    def retake(self, slots: Sequence[Slot], seconds: float, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for some in _chunks(slots):
            self._call(RETAKE, [_micros(seconds), *self._parts(some)], deadline)

    def leave(self, slots: Sequence[Slot], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for some in _chunks(slots):
            self._call(LEAVE, self._parts(some), deadline)

    def pause(self, queue: str, timeout: float) -> bool:
        return bool(self._do(timeout, "SADD", self._pauses, queue))

    def resume(self, queue: str, timeout: float) -> bool:
        return bool(self._do(timeout, "SREM", self._pauses, queue))

    def paused(self, timeout: float) -> frozenset[str]:
        return frozenset(name.decode() for name in self._do(timeout, "SMEMBERS", self._pauses))

    def expire(self, timeout: float) -> int:
        """Nothing to do: the server drops what is past its time."""
        self._open()
        return 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._client.close()

    def _key(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    def _parts(self, slots: Sequence[Slot]) -> list[str]:
        return [part for slot in slots for part in (self._key(slot.key), slot.id, slot.owner)]

    def _call(self, script: Script, arguments: Sequence[Any], deadline: float) -> Any:
        """Run a script, which the server may have to be given first. Twice does no harm, but to a rate."""
        keys = self._client.declared(arguments)
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        with _translation:
            reply = self._open().run([command], deadline, True)[0]
            if type(reply) is ReplyError and str(reply).startswith("NOSCRIPT"):
                self._client.do("SCRIPT", "LOAD", script.source, deadline=deadline, again=True)
                reply = self._client.run([command], deadline, True)[0]
            return self._client.done(reply)

    def _do(self, timeout: float, *command: Any) -> Any:
        with _translation:
            return self._open().do(*command, deadline=time.monotonic() + timeout, again=True)

    def _open(self) -> Client:
        if self._closed:
            raise BrokerError("these limits are closed: open them again")
        return self._client


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(things), CHUNK):
        yield things[at : at + CHUNK]
