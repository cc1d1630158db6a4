"""What nodes say to each other through the embedded database: rows that can be read for a minute."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from greenq.errors import BrokerError, BrokerUnreachable, ConfigError
from greenq.radio import Post, Radio, ReplyBox
from greenq.serverfailures import Failure, Translation
from greenq.sqlite.database import Database
from greenq.sqlite.session import Session
from pools import native

__all__ = ["SqliteRadio"]

log = logging.getLogger("greenq.control")

_translation = Translation(BrokerError, BrokerUnreachable)

LOOK_EVERY = 0.5
"""Seconds between looks for what was said: one small read."""
TIMEOUT = 10.0
KEPT = 60.0
"""Seconds that something can be heard after it was said."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY AUTOINCREMENT, exchange TEXT NOT NULL,"
    " key TEXT NOT NULL, until REAL NOT NULL, envelope TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS revoked (member TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS revoked_by_age ON revoked (at)",
)


class SqliteRadio(Radio):
    """Says and hears things on one machine; nobody but greenq's own tools listens.

    Parameters:
        database: the broker's.
    """

    carries_events = False
    remembers = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ears: list[tuple[str, Callable[[Post], None]]] = []
        self._running = False
        self._closing = native.Signal()

    # ── saying ───────────────────────────────────────────────────────────────────────────────────────────

    def announce(self, posts: Sequence[Post], timeout: float) -> None:
        with _translation:
            self._database.write(lambda session: say(session, posts), timeout)

    publish_events = reply = announce

    def box(self, exchange: str, key: str, timeout: float) -> ReplyBox:
        with _translation:
            return SqliteBox(self._database, exchange, key, self._database.write(newest, timeout))

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, exchange: str, node: str, heard: Callable[[Post], None]) -> None:
        self._ears.append((exchange, heard))
        if not self._running:
            self._running = True
            with _translation:
                last = self._database.write(newest, TIMEOUT)
            native.start(lambda: self._run(last), "greenq-radio")

    def follow(self, exchange: str, node: str, key: str, heard: Callable[[Post], None]) -> None:
        """Nobody sends events here."""
        return

    def _run(self, last: int) -> None:
        away = False
        while not self._closing.wait(LOOK_EVERY):
            try:
                found = self._database.read(partial(since, last=last), TIMEOUT)
                away = False
            except (Failure, ConfigError) as error:
                if not away and not self._closing.is_set:
                    log.warning("remote control hears nothing for now: %s", error)
                away = True
                continue
            for number, post in found:
                last = number
                for exchange, heard in self._ears:
                    if exchange == post.exchange:
                        heard(post)

    # ── what is remembered ───────────────────────────────────────────────────────────────────────────────

    def remember(self, members: Sequence[str], seconds: float, most: int, timeout: float) -> None:
        with _translation:
            self._database.write(lambda session: keep(session, members, seconds, most), timeout)

    def remembered(self, seconds: float, timeout: float) -> list[str]:
        def recall(session: Session) -> list[str]:
            create(session)
            oldest = time.time() - seconds
            rows = session.rows("SELECT member FROM revoked WHERE at >= ? ORDER BY at", (oldest,))
            return [member for (member,) in rows]

        with _translation:
            found: list[str] = self._database.write(recall, timeout)
        return found

    def close(self) -> None:
        self._closing.set()


class SqliteBox(ReplyBox):
    """The rows that carry its key."""

    def __init__(self, database: Database, exchange: str, key: str, last: int) -> None:
        self._database = database
        self._exchange = exchange
        self._key = key
        self._last = last
        self._posts: deque[Post] = deque()

    def next(self, timeout: float) -> Post | None:
        deadline = time.monotonic() + timeout
        while not self._posts:
            with _translation:
                found = self._database.read(lambda session: since(session, self._last), TIMEOUT)
            for number, post in found:
                self._last = number
                if (post.exchange, post.key) == (self._exchange, self._key):
                    self._posts.append(post)
            if not self._posts:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                native.Signal().wait(min(left, LOOK_EVERY / 2))
        return self._posts.popleft()

    def close(self) -> None:
        """It holds nothing."""


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────


def create(session: Session) -> None:
    """Make the tables, if this file has none yet."""
    for statement in TABLES:
        session.execute(statement)


def newest(session: Session) -> int:
    """The number of what was said last."""
    create(session)
    found: int = session.rows("SELECT coalesce(max(id), 0) FROM posts")[0][0]
    return found


def say(session: Session, posts: Sequence[Post]) -> None:
    """Say something, and drop what is too old to be heard."""
    create(session)
    now = time.time()
    session.execute("DELETE FROM posts WHERE until < ?", (now,))
    rows: list[tuple[Any, ...]] = []
    for post in posts:
        envelope = json.dumps([post.headers, post.content_type, post.content_encoding])
        rows.append((post.exchange, post.key, now + KEPT, envelope, post.body))
    session.insert("posts", ("exchange", "key", "until", "envelope", "body"), rows)


def since(session: Session, last: int) -> list[tuple[int, Post]]:
    """What was said after that."""
    found = []
    rows = session.rows(
        "SELECT id, exchange, key, envelope, body FROM posts WHERE id > ? ORDER BY id", (last,)
    )
    for number, exchange, key, envelope, body in rows:
        headers, content_type, content_encoding = json.loads(envelope)
        found.append((number, Post(exchange, key, body, headers, content_type, content_encoding)))
    return found


def keep(session: Session, members: Sequence[str], seconds: float, most: int) -> None:
    """Remember what is revoked."""
    create(session)
    now = time.time()
    session.insert("revoked", ("member", "at"), [(one, now) for one in members], "INSERT OR REPLACE")
    session.execute("DELETE FROM revoked WHERE at < ?", (now - seconds,))
    session.execute(
        "DELETE FROM revoked WHERE member IN (SELECT member FROM revoked ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (most,),
    )
