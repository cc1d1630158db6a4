"""The short form of every fault, as the tests of each broker run it."""

from __future__ import annotations

from tests.chaos.amnesia import forget_everything
from tests.chaos.commands import CONCURRENCY
from tests.chaos.crashes import crash_everywhere
from tests.chaos.kills import Kills, kill_at_random
from tests.chaos.longer import outlast_leases
from tests.chaos.pauses import pause_at_random
from tests.chaos.terms import stop_at_random

__all__ = ["POOLS", "crash", "forget", "kill", "outlast", "pause", "terminate"]

POOLS = list(CONCURRENCY)
SLACK = 60.0
"""Seconds by which a machine that is busy with other tests may miss the bounds: the long form holds them."""


def kill(broker: str, pool: str) -> list[str]:
    """A few random kills; what was wrong."""
    return kill_at_random(Kills(broker, pool, 4, 400, slack=SLACK)).problems


def crash(broker: str, fused: bool) -> list[str]:
    """One crash at every named place; what was wrong."""
    return crash_everywhere(broker, "gevent", fused, SLACK).problems


def terminate(broker: str, pool: str) -> list[str]:
    """A few stops at random moments; what was wrong."""
    return stop_at_random(broker, pool, 3, slack=SLACK).problems


def pause(broker: str, pool: str) -> list[str]:
    """A worker that sleeps through its lease; what was wrong."""
    return pause_at_random(broker, pool, 1).problems


def outlast(broker: str, pool: str) -> list[str]:
    """Tasks ten leases long; what was wrong."""
    return outlast_leases(broker, pool).problems


def forget(broker: str, pool: str) -> list[str]:
    """A broker that comes back empty; what was wrong."""
    return forget_everything(broker, pool, 1).problems
