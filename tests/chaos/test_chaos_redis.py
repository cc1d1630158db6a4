"""Faults under a worker at work on Redis, in their short form."""

from __future__ import annotations

from tests.chaos.short_forms import Amnesia, InOneStep


class TestRedis(Amnesia, InOneStep):
    broker = "redis"
