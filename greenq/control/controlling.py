"""The commands that change something.

Source: celery/worker/control.py: names, arguments and the words of each answer, which Celery's tools read.
"""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Mapping, Sequence
from typing import Any

from greenq.control.panel import control_command
from greenq.control.state import ControlState
from greenq.errors import GreenqError
from greenq.throttling.rules import rate
from pools.errors import Unsupported

__all__: list[str] = []

log = logging.getLogger("greenq.control")

Ids = Sequence[str] | str
AUTOSCALED = "{} is not supported with autoscale. Adjust autoscale range instead."


def ok(words: str) -> dict[str, str]:
    """It was done."""
    return {"ok": words}


def no(words: str) -> dict[str, str]:
    """It was not done, and why."""
    return {"error": words}


def listed(value: Any) -> list[str]:
    """The ids, or stamps, that were given: one or several."""
    if isinstance(value, str):
        return [value]
    return [one for one in value or () if isinstance(one, str)]


def signum_of(signal: Any) -> int:
    """A signal's number: by name, with or without SIG, or as it is.

    Raises:
        ValueError: there is no such signal.
    """
    if signal is None:
        return int(signals.SIGTERM)
    if isinstance(signal, int) or (isinstance(signal, str) and signal.isdecimal()):
        return int(signals.Signals(int(signal)))
    name = str(signal).upper()
    found = getattr(signals.Signals, name if name.startswith("SIG") else f"SIG{name}", None)
    if found is None:
        raise ValueError(f"there is no signal {signal!r}")
    return int(found)


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: ControlState, task_id: Ids = (), terminate: bool = False, signal: Any = None, **_: Any
) -> Any:
    """Run these tasks no more, by their ids."""
    ids = listed(task_id)
    signum = signum_of(signal)
    state.revoke(ids)
    if not terminate:
        log.info("revoked: %s", ", ".join(f"{id!a}" for id in ids))
        return ok(f"tasks {set(ids)} flagged as revoked")
    try:
        ended = state.terminate(ids, signum)
    except Unsupported as error:
        return no(f"revoked, but what runs goes on: {error}")
    return ok(f"terminate: {', '.join(ended)}" if ended else "terminate: tasks unknown")


@control_command(args=[("signal", str)], variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: ControlState, signal: Any = None, task_id: Ids = (), **_: Any) -> Any:
    """End tasks that run, by their ids, as a signal would."""
    return revoke(state, task_id, terminate=True, signal=signal)


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(
    state: ControlState, headers: Any = (), terminate: bool = False, signal: Any = None, **_: Any
) -> Any:
    """Run no more what has one of these stamps."""
    if isinstance(headers, Mapping):
        stamps = {str(name): listed_values(value) for name, value in headers.items()}
    else:
        stamps = {}
        for header in listed(headers):
            name, *rest = header.split("=", 1)
            stamps.setdefault(name, []).extend(rest)
    signum = signum_of(signal)
    state.revoke_stamped(stamps)
    if not terminate:
        return ok(f"headers {stamps} flagged as revoked, but not terminated")
    fits = state.stamped(stamps)
    found: dict[str, set[str]] = {}
    for pairs in fits.values():
        for name, value in pairs:
            found.setdefault(name, set()).add(value)
    try:
        ended = state.terminate(fits.keys(), signum)
    except Unsupported as error:
        return no(f"revoked, but what runs goes on: {error}")
    return ok(f"headers {found} revoked" if ended else f"headers {stamps} were not terminated")


def listed_values(value: Any) -> list[str]:
    """One stamp's values as text."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


@control_command(
    args=[("task_name", str), ("rate_limit", str)], signature="<task_name> <rate_limit (5/s | 5/m | 5/h)>"
)
def rate_limit(state: ControlState, task_name: str = "", rate_limit: Any = None, **_: Any) -> Any:
    """Start no more calls of a task than so many in a time; 0 ends the limit."""
    none = rate_limit in (None, "", 0, "0")
    try:
        if not none:
            rate(rate_limit)
    except ValueError:
        return no(f"Invalid rate limit string: {rate_limit!r:.80}")
    if task_name not in state.app.tasks:
        return no("unknown task")
    try:
        state.limit_rate(task_name, None if none else rate_limit)
    except GreenqError as error:
        return no(str(error))
    if none:
        return ok("rate limit disabled successfully")
    return ok("new rate limit set successfully")


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)],
    signature="<task_name> <soft_secs> [hard_secs]",
)
def time_limit(
    state: ControlState, task_name: str = "", hard: float | None = None, soft: float | None = None, **_: Any
) -> Any:
    """Give a task other time limits, in seconds, from its next run on."""
    if task_name not in state.app.tasks:
        return no("unknown task")
    for limit in (hard, soft):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0):
            return no(f"a time limit is a number of seconds, not {limit!r:.80}")
    try:
        state.limit_time(task_name, soft or None, hard or None)
    except (GreenqError, Unsupported) as error:
        return no(str(error))
    return ok("time limits set successfully")


# ── the pool ─────────────────────────────────────────────────────────────────────────────────────────────


def counted(n: Any) -> int:
    """How many, as a number above 0.

    Raises:
        ValueError: it is none.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= 1_000_000:
        raise ValueError(f"how many? Say a number from 1 on, not {n!r:.80}")
    return n


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(state: ControlState, n: int = 1, **_: Any) -> Any:
    """Let N more tasks run at once."""
    if state.autoscaler is not None:
        return no(AUTOSCALED.format("pool_grow"))
    state.resize(counted(n))
    return ok("pool will grow")


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(state: ControlState, n: int = 1, **_: Any) -> Any:
    """Let N fewer tasks run at once; what runs goes on."""
    if state.autoscaler is not None:
        return no(AUTOSCALED.format("pool_shrink"))
    state.resize(-counted(n))
    return ok("pool will shrink")


@control_command()
def pool_restart(state: ControlState, **_: Any) -> Any:
    """Replace the worker's process by a new one, which imports the application again."""
    state.restart()
    return ok("reload started")


@control_command(args=[("max", int), ("min", int)], signature="[max [min]]")
def autoscale(state: ControlState, max: int | None = None, min: int | None = None, **_: Any) -> Any:
    """Change the bounds between which the pool's size is chosen."""
    autoscaler = state.autoscaler
    if autoscaler is None:
        raise ValueError("Autoscale not enabled")
    most, least = autoscaler.update(max, min)
    return ok(f"autoscale now max={most} min={least}")


@control_command()
def shutdown(state: ControlState, msg: str = "told by remote control", **_: Any) -> None:
    """Stop the worker: running tasks finish, as after SIGTERM."""
    state.shutdown(str(msg))


# ── queues ───────────────────────────────────────────────────────────────────────────────────────────────


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(
    state: ControlState,
    queue: str = "",
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **_: Any,
) -> Any:
    """Take from this queue too."""
    if not queue or not isinstance(queue, str):
        return no("which queue? Give its name")
    try:
        state.add_queue(queue, exchange, exchange_type or "direct", routing_key)
    except GreenqError as error:
        return no(str(error))
    return ok(f"add consumer {queue}")


@control_command(args=[("queue", str)], signature="<queue>")
def cancel_consumer(state: ControlState, queue: str = "", **_: Any) -> Any:
    """Take from this queue no more."""
    state.cancel_queue(queue)
    return ok(f"no longer consuming from {queue}")


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────


@control_command()
def enable_events(state: ControlState, **_: Any) -> Any:
    """Send events about tasks."""
    return ok("task events enabled" if state.switch_events(True) else "task events already enabled")


@control_command()
def disable_events(state: ControlState, **_: Any) -> Any:
    """Send no more events about tasks."""
    return ok("task events disabled" if state.switch_events(False) else "task events already disabled")


@control_command()
def heartbeat(state: ControlState, **_: Any) -> None:
    """Send an event now that says it is alive."""
    state.heartbeat()


@control_command()
def election(state: ControlState, id: str = "", topic: str = "", action: Any = None, **_: Any) -> None:
    """Have one of the workers do something."""
    state.elect(id, topic, action)
