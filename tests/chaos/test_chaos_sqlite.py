"""Faults under a worker at work on SQLite, in their short form."""

from __future__ import annotations

from tests.chaos.short_forms import InOneStep


class TestSQLite(InOneStep):
    broker = "sqlite"
