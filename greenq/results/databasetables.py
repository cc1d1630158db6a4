"""The tables that results are kept in: Celery's own, and one of greenq's."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["ENDS", "GROUPS", "LONGEST_ID", "TASKS", "metadata"]

LONGEST_ID = 155
_integer = sa.Integer().with_variant(sa.BigInteger, "mssql")
metadata = sa.MetaData()
TASKS = sa.Table(
    "celery_taskmeta",
    metadata,
    sa.Column("id", _integer, sa.Sequence("task_id_sequence"), primary_key=True, autoincrement=True),
    sa.Column("task_id", sa.String(LONGEST_ID), unique=True),
    sa.Column("status", sa.String(50)),
    sa.Column("result", sa.LargeBinary, nullable=True),
    sa.Column("date_done", sa.DateTime, nullable=True, index=True),
    sa.Column("traceback", sa.Text, nullable=True),
    sa.Column("children", sa.LargeBinary, nullable=True),
    sa.Column("name", sa.String(155), nullable=True),
    sa.Column("args", sa.LargeBinary, nullable=True),
    sa.Column("kwargs", sa.LargeBinary, nullable=True),
    sa.Column("worker", sa.String(155), nullable=True),
    sa.Column("retries", sa.Integer, nullable=True),
    sa.Column("queue", sa.String(155), nullable=True),
    sa.Column("stamps", sa.LargeBinary, nullable=True),
    sqlite_autoincrement=True,
)
"""Celery's table, with the columns of ``result_extended``; Celery uses those that it knows."""
GROUPS = sa.Table(
    "celery_tasksetmeta",
    metadata,
    sa.Column("id", _integer, sa.Sequence("taskset_id_sequence"), autoincrement=True, primary_key=True),
    sa.Column("taskset_id", sa.String(LONGEST_ID), unique=True),
    sa.Column("result", sa.LargeBinary, nullable=True),
    sa.Column("date_done", sa.DateTime, nullable=True, index=True),
    sqlite_autoincrement=True,
)
ENDS = sa.Table(
    "greenq_taskexpiry",
    metadata,
    sa.Column("task_id", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("expires", sa.Double, nullable=False, index=True),
)
"""When results may be forgotten, which Celery's tables have no room for; seconds since the epoch."""
