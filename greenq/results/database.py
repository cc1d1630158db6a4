"""Results in any database that SQLAlchemy knows, in Celery's own tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from greenq.brokers.drivers import patience
from greenq.brokers.owner import Late
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.config.masking import mask
from greenq.errors import ConfigError, DecodeError, EncodeError, GreenqError, ResultStoreError
from greenq.message import READY_STATES, Result
from greenq.results import databasechords as chords
from greenq.results.base import GROUP
from greenq.results.databasetables import ENDS, GROUPS, LONGEST_ID, TASKS, metadata
from greenq.results.polled import PolledStore

__all__ = ["DatabaseStore"]

CHUNK = 500
"""Results of one statement: some databases take few parameters."""
ATTEMPTS = 8
"""How often a transaction is tried that others got in the way of."""
EXTENDED = ("name", "worker", "retries", "queue")
"""What Celery keeps with ``result_extended``, as it is."""
ENCODED = ("args", "kwargs")
"""The same, encoded by the result serializer."""


class DatabaseStore(PolledStore):
    """Keeps results where and as Celery's database backend does (5.7 and later).

    Parameters:
        url: ``db+`` and an address of SQLAlchemy's: ``db+postgresql+psycopg://user@host/shop``.
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake, or the database's driver is not installed.

    Source: celery.backends.database (``models``, ``DatabaseBackend._update_result``).
    """

    failures = (SQLAlchemyError,)

    def __init__(
        self,
        url: str,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        timeout: float = 30.0,
    ) -> None:
        super().__init__(encode, decode, timeout, "greenq-database", mask(url.partition("?")[0]))
        self._engine = _engine(url[len("db+") :], self._where)
        self._columns: set[str] | None = None

    # ── a record and its columns ─────────────────────────────────────────────────────────────────────────

    def encode(self, result: Result) -> None:
        extra = result.extra
        stamped = extra.get("stamped_headers")
        stamps = {name: extra[name] for name in stamped if name in extra} if stamped else None
        row = {
            "task_id": result.id,
            "status": result.state,
            "result": self._encode(result.value),
            "date_done": result.date_done,
            "traceback": result.traceback,
            "children": self._encode(result.children) if result.children else None,
            **{name: extra.get(name) for name in EXTENDED},
            **{name: None if extra.get(name) is None else self._encode(extra[name]) for name in ENCODED},
            "stamps": self._encode({"stamped_headers": stamped, "stamps": stamps}) if stamped else None,
        }
        if len(result.id) > LONGEST_ID:
            raise EncodeError(
                f"the task's id is longer than {LONGEST_ID} characters, which Celery's table has"
            )
        result.payload = msgpack.packb(row, unicode_errors="surrogatepass")
        result.value = None

    def decode(self, payload: bytes) -> Result:
        try:
            row = msgpack.unpackb(payload, unicode_errors="surrogatepass")
            return self._result(row)
        except (ValueError, TypeError, KeyError) as error:
            raise DecodeError(f"the result is no row of a database: {error}") from error

    def _result(self, row: dict[str, Any]) -> Result:
        extra = {name: row[name] for name in EXTENDED if row.get(name) is not None}
        extra.update((name, self._decode(row[name])) for name in ENCODED if row.get(name) is not None)
        if row.get("stamps") is not None:
            about = self._decode(row["stamps"])
            extra.update(about.get("stamps") or {}, stamped_headers=about.get("stamped_headers"))
        done = row.get("date_done")
        if isinstance(done, datetime):
            done = (done if done.tzinfo is not None else done.replace(tzinfo=UTC)).isoformat()
        return Result(
            id=row["task_id"],
            state=row["status"],
            value=None if row.get("result") is None else self._value(row["result"]),
            traceback=row.get("traceback"),
            children=self._decode(row["children"]) if row.get("children") is not None else [],
            date_done=done,
            extra=extra,
        )

    def _value(self, stored: bytes) -> Any:
        try:
            return self._decode(stored)
        except GreenqError as error:
            if stored[:1] == b"\x80":
                raise DecodeError(
                    "the stored result is a pickle, as Celery before 5.7 wrote them: it is not read, "
                    "for reading it could run code"
                ) from error
            raise

    # ── storing ──────────────────────────────────────────────────────────────────────────────────────────

    def _key(self, id: str) -> str:
        return id

    def _keep(self, results: dict[str, Result], deadline: float) -> None:
        ordered = [results[id] for id in sorted(results)]  # as everywhere: nobody waits in a circle
        for at in range(0, len(ordered), CHUNK):
            self._again(partial(self._store, results=ordered[at : at + CHUNK]), deadline)

    def _store(self, connection: sa.Connection, results: Sequence[Result]) -> None:
        now = time.time()
        ids = [result.id for result in results]
        standing = dict[str, bool]()
        query = sa.select(TASKS.c.task_id, TASKS.c.status, ENDS.c.expires).select_from(
            TASKS.outerjoin(ENDS, TASKS.c.task_id == ENDS.c.task_id)
        )
        query = query.where(TASKS.c.task_id.in_(ids)).order_by(TASKS.c.task_id).with_for_update(of=TASKS)
        for id, state, expires in connection.execute(query):
            standing[id] = state in READY_STATES and (expires is None or expires > now)
        kept = [result for result in results if not standing.get(result.id, False)]
        if not kept:
            return
        columns = self._known(connection)
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for result in kept:
            row = msgpack.unpackb(result.payload, unicode_errors="surrogatepass")
            row["date_done"] = _moment(row["date_done"])
            row = {name: value for name, value in row.items() if name in columns}
            (changed if result.id in standing else new).append(row)
        if new:
            connection.execute(sa.insert(TASKS), new)
        if changed:
            names = [name for name in changed[0] if name != "task_id"]
            connection.execute(
                sa.update(TASKS)
                .where(TASKS.c.task_id == sa.bindparam("the_id"))
                .values({name: sa.bindparam(f"new_{name}") for name in names}),
                [{"the_id": r["task_id"], **{f"new_{name}": r[name] for name in names}} for r in changed],
            )
        connection.execute(sa.delete(ENDS).where(ENDS.c.task_id.in_([result.id for result in kept])))
        ends = [{"task_id": r.id, "expires": now + r.expires} for r in kept if r.expires is not None]
        if ends:
            connection.execute(sa.insert(ENDS), ends)

    def _known(self, connection: sa.Connection) -> set[str]:
        """The columns that there are: a Celery without ``result_extended`` made some only."""
        if self._columns is None:
            self._columns = {column["name"] for column in sa.inspect(connection).get_columns(TASKS.name)}
        return self._columns

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self._open()
        return self._find(list(dict.fromkeys(ids)), timeout)

    def _ended(self, ids: Collection[str]) -> dict[str, Result]:
        return self._find(ids, self._timeout, ended=True)

    def _find(self, ids: Collection[str], timeout: float, ended: bool = False) -> dict[str, Result]:
        wanted = list(ids)
        deadline = time.monotonic() + timeout

        def find(connection: sa.Connection) -> list[dict[str, Any]]:
            columns = [TASKS.c[name] for name in self._known(connection) if name in TASKS.c]
            query = sa.select(*columns, ENDS.c.expires).select_from(
                TASKS.outerjoin(ENDS, TASKS.c.task_id == ENDS.c.task_id)
            )
            if ended:
                query = query.where(TASKS.c.status.in_(sorted(READY_STATES)))
            rows: list[dict[str, Any]] = []
            for at in range(0, len(wanted), CHUNK):
                some = query.where(TASKS.c.task_id.in_(wanted[at : at + CHUNK]))
                rows += [dict(row._mapping) for row in connection.execute(some)]
            return rows

        if not wanted:
            return {}
        rows: list[dict[str, Any]] = self._call(lambda: self._again(find, deadline, write=False), timeout)
        now = time.time()
        return {
            row["task_id"]: self._result(row)
            for row in rows
            if row["expires"] is None or row["expires"] > now
        }

    # ── groups and chords ────────────────────────────────────────────────────────────────────────────────

    def save_group(self, id: str, tree: Any, expires: float | None, timeout: float) -> None:
        row = {"result": self._encode(tree), "date_done": datetime.now(UTC).replace(tzinfo=None)}

        def save(connection: sa.Connection) -> None:
            known = connection.execute(sa.update(GROUPS).where(GROUPS.c.taskset_id == id).values(**row))
            if known.rowcount == 0:
                connection.execute(sa.insert(GROUPS), [{"taskset_id": id, **row}])
            connection.execute(sa.delete(ENDS).where(ENDS.c.task_id == GROUP + id))
            if expires is not None:
                connection.execute(
                    sa.insert(ENDS), [{"task_id": GROUP + id, "expires": time.time() + expires}]
                )

        self._change(save, timeout)

    def restore_group(self, id: str, timeout: float) -> Any:
        query = sa.select(GROUPS.c.result).where(GROUPS.c.taskset_id == id)
        stored = self._change(lambda connection: connection.execute(query).scalar(), timeout, write=False)
        return None if stored is None else self._value(bytes(stored))

    def forget_group(self, id: str) -> None:
        self._change(lambda connection: self._drop(connection, [GROUP + id]), self._timeout)

    @property
    def refuses_chords(self) -> str | None:
        return None

    def encode_part(self, part: ChordPart) -> None:
        if max(len(part.group), len(part.member)) > LONGEST_ID:
            raise EncodeError(
                f"a chord's ids have at most {LONGEST_ID} characters in a database: choose shorter ones"
            )
        super().encode_part(part)

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        for one in openings:
            if one.shape is not None:
                self.save_group(one.group, one.shape, one.expires, timeout)
        self._change(partial(chords.opening, openings=openings), timeout)

    def grow_chord(self, group: str, members: Sequence[str], expires: float | None, timeout: float) -> None:
        self._change(partial(chords.grow, group=group, members=members, expires=expires), timeout)

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        for at in range(0, len(parts), CHUNK):
            self._change(partial(chords.count, parts=parts[at : at + CHUNK], claim=self.claim), timeout)

    def overdue_chords(self, timeout: float) -> list[DueChord]:
        claimed = self._change(partial(chords.overdue, claim=self.claim), timeout)
        found = [self._recall(group, claim, record) for group, claim, record in claimed]
        return [chord for chord in found if chord is not None]

    def joined(self, group: str, timeout: float) -> Iterator[Sequence[bytes]]:
        last = None
        while rows := self._change(
            partial(chords.joined, group=group, after=last, most=CHUNK), timeout, write=False
        ):
            last = rows[-1][:2]
            yield [payload for _, _, payload in rows]

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        change = partial(chords.extend, group=chord.group, token=chord.claim, claim=self.claim)
        return bool(self._change(change, timeout))

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        return bool(self._change(partial(chords.close, group=chord.group, token=chord.claim), timeout))

    def _change(self, change: Callable[[sa.Connection], Any], timeout: float, write: bool = True) -> Any:
        self._open()
        deadline = time.monotonic() + timeout
        return self._call(lambda: self._again(change, deadline, write), timeout)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        unwanted = list(ids)

        def forget(connection: sa.Connection) -> None:
            for at in range(0, len(unwanted), CHUNK):
                self._drop(connection, unwanted[at : at + CHUNK])

        self._open()
        if unwanted:
            deadline = time.monotonic() + self._timeout
            self._call(lambda: self._again(forget, deadline), self._timeout)

    def expire(self) -> int:
        def expire(connection: sa.Connection) -> int:
            past = sa.select(ENDS.c.task_id).where(ENDS.c.expires <= time.time()).limit(CHUNK)
            ids = list(connection.execute(past.with_for_update()).scalars())
            if ids:
                self._drop(connection, ids)
            return len(ids)

        self._open()
        deadline = time.monotonic() + self._timeout
        expired = 0
        self._change(partial(chords.expire, most=CHUNK), self._timeout)
        while some := self._call(lambda: self._again(expire, deadline), deadline - time.monotonic()):
            expired += some
        return expired

    def _drop(self, connection: sa.Connection, ids: Sequence[str]) -> None:
        connection.execute(sa.delete(TASKS).where(TASKS.c.task_id.in_(ids)))
        groups = [id.removeprefix(GROUP) for id in ids if id.startswith(GROUP)]
        if groups:
            connection.execute(sa.delete(GROUPS).where(GROUPS.c.taskset_id.in_(groups)))
        connection.execute(sa.delete(ENDS).where(ENDS.c.task_id.in_(ids)))

    # ── the database ─────────────────────────────────────────────────────────────────────────────────────

    def _shut(self) -> None:
        self._engine.dispose()

    def _start_over(self) -> None:
        self._engine.dispose(close=False)

    def _late(self, timeout: float, late: Late) -> str:
        return (
            f"the database at {self._where} did not answer within {timeout:.3g} s ({late}): "
            "check that it runs and is not overloaded"
        )

    def _explain(self, error: Exception) -> ResultStoreError:
        return ResultStoreError(f"the database at {self._where} failed: {_said(error)}")

    def _again(self, fn: Callable[[sa.Connection], Any], deadline: float, write: bool = True) -> Any:
        """Run a transaction, again if others got in its way; the tables are made when they are missing."""
        for attempt in range(ATTEMPTS):
            try:
                with self._engine.connect().execution_options(greenq_write=write) as connection:
                    if self._columns is None:
                        metadata.create_all(connection)
                        connection.commit()
                    value = fn(connection)
                    connection.commit()
                    return value
            except (IntegrityError, OperationalError, DBAPIError):
                self._columns = None
                if attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                    raise
                time.sleep(0.01 * 2**attempt)
        return None


def _engine(url: str, where: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        engine = sa.create_engine(
            address, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True, pool_recycle=3600,
            connect_args=patience(address.get_driver_name(), address.query),
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the database of {where} needs the package {error.name}, which is not installed: "
            f"pip install {error.name}, or name another driver, as in db+postgresql+psycopg://"
        ) from error
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigError(f"{where} is no address of a database: {_said(error)}") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _take_over_transactions)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _take_over_transactions(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 30000")


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes would be refused where another one does the same.
    write = connection.get_execution_options().get("greenq_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _said(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return " ".join(f"{type(original).__name__}: {original}".split())[:300]
