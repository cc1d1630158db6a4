"""Limits in the embedded database, for all processes of one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenq.errors import BrokerError, BrokerUnreachable
from greenq.serverfailures import Translation
from greenq.sqlite.database import Database, share
from greenq.sqlite.session import Session
from greenq.throttling import statements
from greenq.throttling.base import Ask, Claim, Slot, ThrottleStore

__all__ = ["SqliteThrottle"]


_translation = Translation(BrokerError, BrokerUnreachable)


class SqliteThrottle(ThrottleStore):
    """Keeps limits in a SQLite file, in tables of their own that the first use makes.

    Parameters:
        url: as `greenq.brokers.sqlite.SqliteBroker` has it.

    Raises:
        ConfigError: the address has a mistake.
    """

    def __init__(self, url: str) -> None:
        self._database: Database = share(url)
        self._closed = False

    def hold(self, claims: Sequence[Claim], timeout: float) -> list[str | None]:
        holders: list[str | None] = self._write(statements.hold, timeout, claims)
        return holders

    def free(self, holds: Sequence[tuple[str, str]], timeout: float) -> None:
        self._write(statements.free, timeout, holds)

    def admit(self, asks: Sequence[Ask], timeout: float) -> list[float]:
        dues: list[float] = self._write(statements.admit, timeout, asks)
        return dues

    def renew(self, slots: Sequence[Slot], seconds: float, timeout: float) -> list[Slot]:
        lost: list[Slot] = self._write(statements.renew, timeout, slots, seconds)
        return lost

    def retake(self, slots: Sequence[Slot], seconds: float, timeout: float) -> None:
        self._write(statements.retake, timeout, slots, seconds)

    def leave(self, slots: Sequence[Slot], timeout: float) -> None:
        self._write(statements.leave, timeout, slots)

    def pause(self, queue: str, timeout: float) -> bool:
        return bool(self._write(statements.pause, timeout, queue))

    def resume(self, queue: str, timeout: float) -> bool:
        return bool(self._write(statements.resume, timeout, queue))

    def paused(self, timeout: float) -> frozenset[str]:
        found: frozenset[str] = self._read(statements.paused, timeout, frozenset())
        return found

    def expire(self, timeout: float) -> int:
        if not self._read(lambda session: 1, timeout, 0):
            return 0
        return int(self._write(statements.expire, timeout))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._database.release()

    def _write(self, do: Callable[..., Any], timeout: float, *arguments: Any) -> Any:
        def change(session: Session) -> Any:
            statements.create(session)
            return do(session, *arguments)

        with _translation:
            return self._open().write(change, timeout)

    def _read(self, look: Callable[[Session], Any], timeout: float, nothing: Any) -> Any:
        """Look without a transaction that others would wait for; `nothing` where there are no tables."""
        with _translation:
            return self._open().read(
                lambda session: look(session) if statements.exists(session) else nothing, timeout
            )

    def _open(self) -> Database:
        if self._closed:
            raise BrokerError("these limits are closed: open them again")
        return self._database
