"""What must be true, held against what a run has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import records
from benchmarks.found import Found
from benchmarks.place import Failed

__all__ = ["GOALS", "Goal", "Judged", "counted", "judge", "table"]

CELERY = "Celery gevent, Redis"
CELERY_RABBIT = ("Celery gevent, RabbitMQ", "Celery gevent, RabbitMQ, tuned")
DRAMATIQ_RABBIT = "dramatiq-gevent x2, RabbitMQ"
SERVED = "greenq gevent, Redis, Celery's application"
REDIS, SQLITE, RABBIT = "greenq gevent, Redis", "greenq gevent, SQLite", "greenq gevent, RabbitMQ"
POP, LOOP = "(bare RPOP, Redis)", "(the loop, Redis)"
FRAMES = "(frames counted, RabbitMQ)"
LPUSH, PUBLISH = "(bare LPUSH, Redis)", "(py-amqp publish, RabbitMQ)"
GREENLETS = "(bare gevent.spawn of gevent.sleep)"
SLEEPS, MANY_SLEEPS = "sleep-100ms-c1000", "sleep-100ms-c10000"

Measure = Callable[[Found], float | None]


@dataclass(frozen=True)
class Goal:
    """One thing that must be true.

    Parameters:
        line: of the list of them that it belongs to.
        text: what is measured.
        measure: gives the figure; None if it was not measured.
        limit: the figure's.
        least: whether the limit is a lower one.
        unit: of both.
    """

    line: int
    text: str
    measure: Measure
    limit: float
    least: bool = True
    unit: str = "times"


@dataclass(frozen=True)
class Judged:
    """A goal and what was found.

    Parameters:
        value: None if it was not measured.
    """

    goal: Goal
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether it is true; None if nobody knows."""
        if self.value is None:
            return None
        return self.value >= self.goal.limit if self.goal.least else self.value <= self.goal.limit


def _median(workload: str, system: str, figure: str = "rate") -> Measure:
    return lambda found: found.median(workload, system, figure)


def _times(workload: str, system: str, other: str, figure: str = "rate", *, higher: bool = True) -> Measure:
    """How many times better one system is than another."""
    return _across((workload, system), (workload, other), figure, higher=higher)


def _across(
    one: tuple[str, str], other: tuple[str, str], figure: str = "rate", *, higher: bool = True
) -> Measure:
    def measure(found: Found) -> float | None:
        times = found.ratio(one, other, figure, higher=higher)
        return times.middle if times else None

    return measure


def _times_best(workload: str, system: str, figure: str = "rate", *, higher: bool = True) -> Measure:
    """How many times better a system is than the best of the peers, of any kind."""

    def measure(found: Found) -> float | None:
        best = found.best(workload, "peer", figure, higher=higher)
        return None if best is None else _times(workload, system, best, figure, higher=higher)(found)

    return measure


def _times_better_of(workload: str, system: str, others: tuple[str, ...]) -> Measure:
    """How many times better a system is than the best of these, or than that of them that was measured."""

    def measure(found: Found) -> float | None:
        times = [_times(workload, system, other)(found) for other in others]
        return min((one for one in times if one is not None), default=None)

    return measure


def _above_bare(found: Found) -> float | None:
    ours, bare = found.median("memory", REDIS, "task"), found.median("memory", GREENLETS, "task")
    return None if ours is None or bare is None else ours - bare


def _calls(found: Found) -> float | None:
    return max((one["calls"] for one in found.run.get("calls", [])), default=None)


def _share(workload: str, system: str, ideal: float) -> Measure:
    def measure(found: Found) -> float | None:
        rate = found.median(workload, system)
        return None if rate is None else rate / ideal

    return measure


GOALS = (
    Goal(0, "the loop beside a bare batched RPOP", _times("noop", LOOP, POP), 0.85),
    Goal(1, "noop drain, Redis, beside Celery gevent", _times("noop", REDIS, CELERY), 40),
    Goal(1, "noop drain, Redis, beside the fastest peer", _times_best("noop", REDIS), 5),
    Goal(1, "noop drain, Redis, beside the loop", _times("noop", REDIS, LOOP), 0.4),
    Goal(2, "with results, Redis, beside Celery gevent", _times("noop-results", REDIS, CELERY), 60),
    Goal(2, "with results, Redis, beside the fastest peer", _times_best("noop-results", REDIS), 9),
    Goal(
        3, "noop drain, RabbitMQ, beside Celery gevent at its best",
        _times_better_of("noop", RABBIT, CELERY_RABBIT), 6,
    ),
    Goal(3, "noop drain, RabbitMQ, beside dramatiq-gevent x2", _times("noop", RABBIT, DRAMATIQ_RABBIT), 2),
    Goal(3, "noop drain, RabbitMQ, beside counting frames", _times("noop", RABBIT, FRAMES), 0.55),
    Goal(4, "noop drain, SQLite, beside Celery gevent on Redis", _times("noop", SQLITE, CELERY), 15),
    Goal(5, "100 ms sleeps, -c 1000, Redis, of the ideal", _share(SLEEPS, REDIS, 10_000), 0.97),
    Goal(5, "100 ms sleeps, -c 1000, RabbitMQ, of the ideal", _share(SLEEPS, RABBIT, 10_000), 0.95),
    Goal(5, "100 ms sleeps, -c 1000, SQLite, of the ideal", _share(SLEEPS, SQLITE, 10_000), 0.95),
    Goal(5, "100 ms sleeps, -c 10,000, Redis", _median(MANY_SLEEPS, REDIS), 40_000, unit="a second"),
    Goal(5, "the same beside the best peer", _times_best(MANY_SLEEPS, REDIS), 4),
    Goal(5, "memory of a running task above a bare green thread", _above_bare, 16, False, "KiB"),
    Goal(6, "round trip, idle, Redis, p50", _median("round-trip", REDIS, "p50"), 0.5, False, "ms"),
    Goal(6, "round trip, idle, Redis, p99", _median("round-trip", REDIS, "p99"), 1.5, False, "ms"),
    Goal(
        6, "round trip, idle, Redis, p50 beside the best peer",
        _times_best("round-trip", REDIS, "p50", higher=False), 1,
    ),
    Goal(6, "round trip, half load, Redis, p99", _median("half-load", REDIS, "p99"), 5, False, "ms"),
    Goal(7, "single sends, Redis, beside Celery", _times("enqueue", REDIS, CELERY), 3.5),
    Goal(7, "single sends, Redis, beside a bare LPUSH", _times("enqueue", REDIS, LPUSH), 0.7),
    Goal(
        7, "single sends, RabbitMQ, confirms off, beside py-amqp's publish",
        _times("enqueue", f"{RABBIT}, unconfirmed", PUBLISH), 0.6,
    ),
    Goal(
        7, "pipelined sends, RabbitMQ, confirmed, beside py-amqp's publish",
        _across(("bulk", RABBIT), ("enqueue", PUBLISH)), 0.4,
    ),
    Goal(7, "bulk sends, Redis, beside Celery", _times("bulk", REDIS, CELERY), 25),
    Goal(
        8, "noop drain, Redis, 2 ms away, beside no distance",
        _across(("delay-2ms", REDIS), ("delay-0ms", REDIS)), 0.8,
    ),
    Goal(
        8, "noop drain, RabbitMQ, 2 ms away, beside no distance",
        _across(("delay-2ms", RABBIT), ("delay-0ms", RABBIT)), 0.8,
    ),
    Goal(
        9, "100 ms sleeps, Redis, two processes beside one",
        _across(("processes-2", REDIS), ("processes-1", REDIS)), 1.8,
    ),
    Goal(10, "Python calls per message on any broker, by 1 and by 100", _calls, 60, False, "calls"),
    Goal(11, "idle memory, worker", _median("memory", REDIS, "worker"), 45, False, "MiB"),
    Goal(11, "idle memory, supervisor", _median("memory", REDIS, "supervisor"), 15, False, "MiB"),
    Goal(11, "growth over a million tasks", _median("flat", REDIS, "grown"), 2, False, "MiB"),
    Goal(11, "start to the first task", _median("start", REDIS, "start"), 0.5, False, "s"),
    Goal(12, "gevent beside eventlet", _times("noop", REDIS, "greenq eventlet, Redis"), 1.5, False),
    Goal(
        12, "prefork 2 beside Celery's",
        _times("noop", "greenq prefork 2, Redis", "Celery prefork 2, Redis"), 8,
    ),
    Goal(12, "solo beside Celery's", _times("noop", "greenq solo, Redis", "Celery solo, Redis"), 15),
    Goal(13, "an unmodified Celery application, noop drain", _times("noop", SERVED, CELERY), 10),
    Goal(13, "the same with results", _times("noop-results", SERVED, CELERY), 15),
)  # fmt: skip


def counted() -> list[dict[str, Any]]:
    """Give the last count of calls per message; none if there was none."""
    try:
        found: list[dict[str, Any]] = records.read(records.latest("calls"))
    except Failed:
        return []
    return found


def judge(run: dict[str, Any], calls: list[dict[str, Any]]) -> list[Judged]:
    """Hold a run against each goal.

    Parameters:
        calls: as `counted` gives them.
    """
    found = Found({**run, "calls": calls})
    return [Judged(goal, goal.measure(found)) for goal in GOALS]


def table(judged: list[Judged]) -> str:
    """Write it as Markdown."""
    lines = ["| line | what | measured | must be | |", "| ---: | --- | ---: | ---: | --- |"]
    words = {True: "met", False: "**missed**", None: "not measured"}
    for one in judged:
        goal = one.goal
        measured = (
            "" if one.value is None else f"{one.value:,.3g}" if one.value < 1000 else f"{one.value:,.0f}"
        )
        limit = f"{'≥' if goal.least else '≤'} {goal.limit:,g} {goal.unit}"
        lines.append(f"| {goal.line} | {goal.text} | {measured} | {limit} | {words[one.met]} |")
    return "\n".join(lines)
