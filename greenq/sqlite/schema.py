"""The tables of the embedded database, and how a connection to it is made.

A message is one row in `messages`, which never changes, and one row in the table of its state: `ready`,
`delayed`, `leased` or `dead`. The state tables are small and clustered in the order they are read, so that
claiming a message rewrites no body, and a million delayed ones cost a fetch nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from itertools import chain

from greenq.errors import ConfigError
from greenq.sqlite.address import Address
from greenq.sqlite.failures import Unreachable, explain, is_busy

__all__ = ["APPLICATION_ID", "VERSION", "connect"]

APPLICATION_ID = 0x67726E71
"""``grnq``: how `file` and other tools may tell whose database it is."""
VERSION = 2
"""Of the tables below, kept as the file's ``user_version``."""
OLDEST_SQLITE = (3, 35, 0)
LOG_LIMIT = 64 * 1024 * 1024
"""Bytes of the log that are kept for its next use, when it has become longer."""

TABLES = (
    "CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # rank is the negated priority; envelope holds headers and properties (see `envelope`).
    "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL,"
    " rank INTEGER NOT NULL, envelope BLOB, body BLOB)",
    # position is the message's id, 0 for one that went back to the front, and the newest id of its time for
    # one that came in later (promoted, replayed).
    "CREATE TABLE ready (queue INTEGER, rank INTEGER, position INTEGER, id INTEGER, attempts INTEGER,"
    " PRIMARY KEY (queue, rank, position, id)) WITHOUT ROWID",
    "CREATE TABLE delayed (due REAL, id INTEGER, queue INTEGER, rank INTEGER, attempts INTEGER,"
    " PRIMARY KEY (due, id)) WITHOUT ROWID",
    # owner is the id of the process, fence differs for each fetch.
    "CREATE TABLE leased (owner INTEGER, id INTEGER, fence INTEGER, queue INTEGER, rank INTEGER,"
    " attempts INTEGER, PRIMARY KEY (owner, id)) WITHOUT ROWID",
    "CREATE TABLE dead (key INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL,"
    " queue INTEGER NOT NULL, rank INTEGER NOT NULL, died REAL NOT NULL, reason TEXT NOT NULL, trace TEXT)",
    "CREATE INDEX dead_by_queue ON dead (queue, key)",
    "CREATE TABLE processes (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " seconds REAL NOT NULL, until REAL NOT NULL, clock TEXT NOT NULL)",
    # seq rises with every change of a result: what is new is what has a higher one than last time.
    "CREATE TABLE results (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " terminal INTEGER NOT NULL, expires REAL, payload BLOB NOT NULL)",
    "CREATE INDEX results_by_expiry ON results (expires) WHERE expires IS NOT NULL",
)
CHORD_TABLES = (
    # size is unknown until the chord is opened; more and counted are the numbers of rows in the tables below.
    "CREATE TABLE chords (id TEXT PRIMARY KEY, size INTEGER, more INTEGER NOT NULL DEFAULT 0,"
    " counted INTEGER NOT NULL DEFAULT 0, claim TEXT, until REAL, record BLOB,"
    " done INTEGER NOT NULL DEFAULT 0, expires REAL) WITHOUT ROWID",
    "CREATE INDEX chords_by_expiry ON chords (expires) WHERE expires IS NOT NULL",
    "CREATE INDEX chords_by_claim ON chords (until) WHERE until IS NOT NULL",
    "CREATE TABLE chordparts (chord TEXT, place REAL, member TEXT, payload BLOB NOT NULL,"
    " PRIMARY KEY (chord, place, member)) WITHOUT ROWID",
    "CREATE TABLE chordgrowth (chord TEXT, member TEXT, PRIMARY KEY (chord, member)) WITHOUT ROWID",
)
STEPS = (TABLES, CHORD_TABLES)
"""What each version of the tables added."""


def connect(address: Address, patient: Callable[[], bool]) -> sqlite3.Connection:
    """Open the file, creating it and its tables if they are missing.

    Parameters:
        patient: asked, and expected to pause, whenever another process is in the way; False gives up.

    Raises:
        Unreachable: it cannot be opened or created.
        Failure: it is damaged, or the disk is full.
        ConfigError: it is something else than greenq's database, or a newer greenq's.
    """
    _check_place(address.path)
    try:
        connection = sqlite3.connect(
            address.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.Error as error:
        raise explain(address.path, error) from error
    try:
        while True:
            try:
                _prepare(connection, address)
                return connection
            except sqlite3.Error as error:
                if not is_busy(error) or not patient():
                    raise
    except BaseException as error:
        connection.close()
        if not isinstance(error, sqlite3.Error):
            raise
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ConfigError(
                f"{address.path} is not a SQLite database: choose another path, or move the file away"
            ) from error
        if is_busy(error):
            raise Unreachable(
                f"{address.path}: another process keeps it locked: end that process (`fuser FILE` names it)"
            ) from error
        raise explain(address.path, error) from error


def _check_place(path: str) -> None:
    """Refuse what SQLite would only call "unable to open database file"."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigError(
            f"SQLite {sqlite3.sqlite_version} is too old: this Python needs one built with "
            f"{'.'.join(map(str, OLDEST_SQLITE))} or newer"
        )
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise Unreachable(
            f"{path}: the directory {directory} does not exist: create it, or choose another path"
        )
    if os.path.isdir(path):
        raise Unreachable(f"{path} is a directory: add a file's name to the address")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Unreachable(
            f"{path}: this user may not write in {directory} (SQLite keeps its log there): "
            "change its permissions, or choose another path"
        )
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise Unreachable(f"{path}: this user may not read and write it: change its permissions")


def _prepare(connection: sqlite3.Connection, address: Address) -> None:
    version = _version(connection, address.path)
    if connection.execute("PRAGMA journal_mode = WAL").fetchall()[0][0] != "wal":
        raise Unreachable(
            f"{address.path}: this file system cannot share memory between processes: use a local disk"
        )
    connection.execute(f"PRAGMA synchronous = {'FULL' if address.full else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `log`
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    connection.execute("PRAGMA temp_store = MEMORY")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, address.path)  # another process may have been faster
        if version != VERSION:
            for statement in chain.from_iterable(STEPS[version:]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Return the tables' version, 0 for an empty file; refuse what is not greenq's."""
    version, identity, tables = _identity(connection)
    if (tables or version) and identity != APPLICATION_ID:
        raise ConfigError(f"{path} is another program's database: choose a path of greenq's own")
    if version > VERSION:
        raise ConfigError(
            f"{path} was made by a newer greenq (tables of version {version}; this one knows {VERSION}): "
            "update greenq here, or choose another path"
        )
    return version


def _identity(connection: sqlite3.Connection) -> list[int]:
    """Read version, application and number of tables in one snapshot: others may be making them just now."""
    nested = connection.in_transaction
    if not nested:
        connection.execute("BEGIN")
    try:
        return [
            int(connection.execute(question).fetchall()[0][0])
            for question in (
                "PRAGMA user_version",
                "PRAGMA application_id",
                "SELECT count(*) FROM sqlite_master",
            )
        ]
    finally:
        if not nested:
            connection.execute("COMMIT")
