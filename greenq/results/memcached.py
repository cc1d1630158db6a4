"""Results in memcached, under Celery's keys."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymemcache.client.base import Client  # type: ignore[import-untyped]
from pymemcache.client.hash import HashClient  # type: ignore[import-untyped]
from pymemcache.exceptions import MemcacheError, MemcacheServerError  # type: ignore[import-untyped]

from greenq.brokers.owner import Late
from greenq.config.masking import mask
from greenq.errors import ConfigError, EncodeError, MessageError, ResultStoreError
from greenq.message import FAILURE, READY_STATES, Result
from greenq.results.polled import PolledStore

__all__ = ["MemcachedStore"]

PREFIX = "celery-task-meta-"
KINDS = ("memcached", "memcache", "pymemcache", "pylibmc")
"""What Celery calls it."""
CHUNK = 500
RELATIVE_MOST = 30 * 24 * 60 * 60
"""Seconds: memcached takes a longer expiry for a point in time."""
_plain = re.compile(r"[!-~]{1,200}")


class MemcachedStore(PolledStore):
    """Keeps results where and as Celery's cache backend does (5.7 and later, which uses pymemcache too).

    Parameters:
        url: ``cache+memcached://host:11211/``; several servers are joined by semicolons.
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.

    Source: celery.backends.cache (``CacheBackend``, ``get_memcache_client``).
    """

    failures = (MemcacheError, OSError)

    def __init__(
        self,
        url: str,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        timeout: float = 30.0,
    ) -> None:
        kind, _, rest = url[len("cache+") :].partition("://")
        servers = [server for server in rest.rstrip("/").split(";") if server]
        if kind.lower() not in KINDS:
            raise ConfigError(
                f"there is no result store cache+{kind:.40}://: write cache+memcached://host:11211/"
            )
        if not servers or any(set(server) & set("/?#@") for server in servers):
            raise ConfigError(
                f"{mask(url)} is no address of memcached: write cache+memcached://host:11211/, "
                "several hosts joined by semicolons"
            )
        super().__init__(encode, decode, timeout, "greenq-memcached", ", ".join(servers))
        self._servers = servers
        self._client = self._connect()

    def _connect(self) -> Any:
        options = {"default_noreply": False, "connect_timeout": 5.0, "timeout": max(1.0, self._timeout / 3)}
        # Celery chooses in the same way, so that both look for a key on the same of several servers.
        return Client(self._servers[0], **options) if len(self._servers) == 1 else HashClient(
            self._servers, **options
        )  # fmt: skip

    # ── storing ──────────────────────────────────────────────────────────────────────────────────────────

    def _key(self, id: str) -> str:
        return _key(id)

    def _keep(self, results: dict[str, Result], deadline: float) -> None:
        pending = dict(results)
        while pending:
            keys = list(pending)[:CHUNK]
            stored = self._client.gets_many(keys)
            for key in keys:
                value, version = stored.get(key, (None, None))
                if self._is_terminal(value) or self._store(key, pending[key], version):
                    del pending[key]
            if pending and time.monotonic() > deadline:
                raise ResultStoreError(f"memcached at {self._where} did not take all results in time")

    def _store(self, key: str, result: Result, version: bytes | None) -> bool:
        """Store one, if nobody else has stored another meanwhile; whether it was."""
        lasts = _lasting(result.expires)
        try:
            if version is None:
                return bool(self._client.add(key, result.payload, lasts))
            return bool(self._client.cas(key, result.payload, version, lasts))
        except MemcacheServerError as error:
            if "too large" not in str(error):
                raise
            # Tried again and again it would keep all others out; whoever waits for it must learn of it.
            text = f"the result has {len(result.payload)} bytes, more than memcached takes (its option -I)"
            kind = EncodeError
            result.state = FAILURE
            result.value = {"exc_type": kind.__name__, "exc_message": [text], "exc_module": kind.__module__}
            result.traceback, result.children, result.extra = None, [], {}
            self.encode(result)
            return False

    def _is_terminal(self, payload: bytes | None) -> bool:
        if payload is None:
            return False
        with contextlib.suppress(MessageError):  # what nobody can read may be overwritten
            return self.decode(payload).state in READY_STATES
        return False

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self._open()
        by_key = {_key(id): id for id in ids}
        stored = self._call(lambda: self._get(list(by_key)), timeout) if by_key else {}
        return {by_key[key]: self.decode(payload) for key, payload in stored.items()}

    def _get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(keys), CHUNK):
            found.update(self._client.get_many(keys[at : at + CHUNK]))
        return found

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        self._open()
        keys = [_key(id) for id in ids]
        if keys:
            self._call(lambda: self._client.delete_many(keys), self._timeout)

    def expire(self) -> int:
        """Nothing to do: memcached drops what is past its time."""
        self._open()
        return 0

    def _shut(self) -> None:
        self._client.close()

    def _start_over(self) -> None:
        self._client = self._connect()

    def _late(self, timeout: float, late: Late) -> str:
        return f"memcached at {self._where} did not answer within {timeout:.3g} s ({late}): is it running?"

    def _explain(self, error: Exception) -> ResultStoreError:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return ResultStoreError(
            f"memcached at {self._where} failed: {text}; check its address and whether it runs"
        )


def _key(id: str) -> str:
    """Celery's key, where memcached allows such a one; else one made from a digest."""
    if _plain.fullmatch(id):
        return PREFIX + id
    return f"{PREFIX}greenq-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _lasting(expires: float | None) -> int:
    """The expiry as memcached takes it: its clock ticks once a second, and none may come early."""
    if expires is None:
        return 0
    seconds = math.ceil(expires) + 1
    return seconds if seconds <= RELATIVE_MOST else int(time.time()) + seconds
