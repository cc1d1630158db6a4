"""Results as files: in a directory, on S3, or wherever fsspec reaches. Celery's names and contents."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote

import yaml

from greenq.brokers.owner import Late
from greenq.config.masking import mask
from greenq.errors import ConfigError, MessageError, ResultStoreError
from greenq.message import READY_STATES, Result
from greenq.results.filesystems import Files, LocalFiles, failed, remote
from greenq.results.polled import PolledStore

__all__ = ["FileStore"]

PREFIX = "celery-task-meta-"
ENDS = ".greenq-ends"
"""Folder of lists that say which results may be dropped from which minute on."""
MINUTE = 60
EXPIRES = "greenq_expires"
"""Key in the record: when it may be forgotten, in seconds since the epoch. Celery passes over it."""
_plain = re.compile(r"[\w.@=+-]{1,200}", re.ASCII)


class FileStore(PolledStore):
    """Keeps each result in a file, as Celery's filesystem and S3 backends do.

    Parameters:
        url: ``file:///var/results``, ``s3://bucket/prefix/?endpoint_url=…``, or ``fsspec+PROTOCOL://…``; what
            follows the question mark are the filesystem's options, as YAML values.
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake, or the package for it is not installed.

    Source: celery.backends.filesystem, celery.backends.s3.
    """

    failures = (Exception,)  # fsspec has as many kinds of errors as filesystems

    def __init__(
        self,
        url: str,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        timeout: float = 30.0,
    ) -> None:
        super().__init__(encode, decode, timeout, "greenq-files", mask(url.partition("?")[0]))
        self._url = url
        self._files: Files = _place(url, timeout)

    # ── the record ───────────────────────────────────────────────────────────────────────────────────────

    def encode(self, result: Result) -> None:
        extra = result.extra
        if result.expires is not None:
            result.extra = {**extra, EXPIRES: time.time() + result.expires}
        try:
            super().encode(result)
        finally:
            result.extra = extra

    def decode(self, payload: bytes) -> Result:
        return self._read(payload)[0]

    def _read(self, payload: bytes) -> tuple[Result, float]:
        """A record, and when it may be forgotten."""
        result = super().decode(payload)
        until = result.extra.pop(EXPIRES, None)
        return result, float(until) if isinstance(until, (int, float)) else math.inf

    # ── storing ──────────────────────────────────────────────────────────────────────────────────────────

    def _key(self, id: str) -> str:
        return _name(id)

    def _keep(self, results: dict[str, Result], deadline: float) -> None:
        with self._files.alone():
            stored = self._files.read(list(results))
            kept = {name: one for name, one in results.items() if not self._is_final(stored.get(name))}
            if not kept:
                return
            ends: dict[int, list[str]] = {}
            for name, result in kept.items():
                if result.expires is not None:
                    minute = math.ceil((time.time() + result.expires) / MINUTE)
                    ends.setdefault(minute, []).append(name)
            # Before the results: one that no list names would never be dropped.
            self._files.write({
                f"{ENDS}/{minute}-{secrets.token_hex(8)}": json.dumps(names).encode()
                for minute, names in ends.items()
            })  # fmt: skip
            self._files.write({name: result.payload for name, result in kept.items()})

    def _is_final(self, payload: bytes | None) -> bool:
        if not payload:
            return False
        with contextlib.suppress(MessageError):  # what nobody can read may be overwritten
            result, until = self._read(payload)
            return result.state in READY_STATES and until > time.time()
        return False

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self._open()
        by_name = {_name(id): id for id in ids}
        stored = self._call(lambda: self._files.read(list(by_name)), timeout) if by_name else {}
        now = time.time()
        found = {by_name[name]: self._read(payload) for name, payload in stored.items() if payload}
        return {id: result for id, (result, until) in found.items() if until > now}

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        self._open()
        names = [_name(id) for id in ids]
        if names:
            self._call(lambda: self._files.remove(names), self._timeout)

    def expire(self) -> int:
        self._open()
        expired: int = self._call(self._expire, self._timeout)
        return expired

    def _expire(self) -> int:
        self._files.tidy()
        now = time.time()
        expired = 0
        for leaf in self._files.listing(ENDS):
            minute = leaf.partition("-")[0]
            if not minute.isdigit() or int(minute) * MINUTE > now:
                continue
            listing = f"{ENDS}/{leaf}"
            with self._files.alone():
                names = json.loads(self._files.read([listing]).get(listing, b"[]"))
                past = [name for name, raw in self._files.read(names).items() if self._is_past(raw, now)]
                self._files.remove([*past, listing])
                expired += len(past)
        return expired

    def _is_past(self, payload: bytes, now: float) -> bool:
        with contextlib.suppress(MessageError):
            return self._read(payload)[1] <= now
        return False

    def _shut(self) -> None:
        self._files.close()

    def _start_over(self) -> None:
        self._files = _place(self._url, self._timeout)

    def _late(self, timeout: float, late: Late) -> str:
        return f"results at {self._where} could not be read or written within {timeout:.3g} s ({late})"

    def _explain(self, error: Exception) -> ResultStoreError:
        return failed(self._where, error)


def _name(id: str) -> str:
    """Celery's name, where every filesystem allows such a one; else one made from a digest."""
    if _plain.fullmatch(id):
        return PREFIX + id
    return f"{PREFIX}greenq-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _place(url: str, timeout: float) -> Files:
    scheme, _, rest = url.partition("://")
    protocol = scheme.lower().removeprefix("fsspec+")
    if scheme.lower() == "file":
        path = unquote(rest.removeprefix("localhost"))
        if not os.path.isabs(path):
            raise ConfigError("a directory of results needs its whole path: file:///var/results")
        return LocalFiles(path, timeout)
    path, _, query = rest.partition("?")
    options = {name: _value(value) for name, value in parse_qsl(query, keep_blank_values=True)}
    return remote(protocol, path if protocol != "memory" else f"/{path.strip('/')}", options, timeout)


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
