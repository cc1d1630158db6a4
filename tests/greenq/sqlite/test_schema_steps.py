"""A file that an earlier greenq made goes on with the tables of this one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from greenq.results import connect
from greenq.sqlite.schema import APPLICATION_ID, STEPS, VERSION
from greenq.testing.messages import PATIENCE
from greenq.testing.payloads import decode, encode, encoded


def test_each_older_version_of_the_tables_is_brought_up_to_date(tmp_path: Path) -> None:
    for version in range(VERSION + 1):
        path = tmp_path / f"{version}.db"
        with sqlite3.connect(path) as old:
            for step in STEPS[:version]:
                for statement in step:
                    old.execute(statement)
            if version:
                old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                old.execute(f"PRAGMA user_version = {version}")
                old.execute("INSERT INTO results (id, terminal, payload) VALUES ('old', 1, ?)", (_record(),))
        old.close()
        with connect(f"sqlite:///{path}", encode, decode) as store:
            store.put([encoded(store, "new")], PATIENCE)
            store.grow_chord("group", ["member"], None, PATIENCE)
            assert set(store.get(["old", "new"], PATIENCE)) == ({"old", "new"} if version else {"new"})
        with sqlite3.connect(path) as now:
            assert now.execute("PRAGMA user_version").fetchall() == [(VERSION,)]
        now.close()


def _record() -> bytes:
    return encode({"task_id": "old", "status": "SUCCESS", "result": None})
