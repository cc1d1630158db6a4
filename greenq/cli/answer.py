"""What became of a call: waiting for it, and showing it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from greenq.cli import screen
from greenq.message import PENDING, READY_STATES, SUCCESS, Result

if TYPE_CHECKING:
    from greenq.app import GreenQ
    from greenq.results.base import ResultStore

__all__ = ["complain", "how_far", "look_up", "record", "show", "store_of", "wait_for"]

SLICE = 1.0
"""Seconds between two looks at the clock on the screen while waiting."""
TRACE_LINES = 6
"""How much of a remote traceback is shown."""


def store_of(app: GreenQ) -> ResultStore:
    """The application's result store.

    Raises:
        UsageError: it keeps no results.
    """
    if app.results is None:
        raise click.UsageError(
            "no results are kept here (results.url is null): give it an address in greenq.yaml",
            click.get_current_context(),
        )
    return app.results


def look_up(app: GreenQ, task_id: str) -> Result | None:
    """What is stored of a task now."""
    return store_of(app).get([task_id], app.settings.results.timeout).get(task_id)


def wait_for(app: GreenQ, task_id: str, timeout: float | None) -> Result | None:
    """Wait for the end of a task, showing on a terminal that we wait.

    Parameters:
        timeout: seconds; None waits for ever.

    Returns:
        Its result, or None after the timeout.
    """
    store = store_of(app)
    until = None if timeout is None else time.monotonic() + timeout
    state = PENDING
    with screen.status() as line:
        while True:
            line.say(f"waiting for {task_id} ({state})")
            rest = SLICE if until is None else min(SLICE, max(0.0, until - time.monotonic()))
            ended = store.wait([task_id], rest).get(task_id)
            if ended is not None:
                return ended
            if until is not None and time.monotonic() >= until:
                return None
            now = store.get([task_id], app.settings.results.timeout).get(task_id)
            state = how_far(now) if now else PENDING


def how_far(result: Result) -> str:
    """The state of a task that has not ended, and how far it is, if it tells with `Task.progress`."""
    told = result.value if isinstance(result.value, dict) else {}
    done, total = _number(told.get("current")), _number(told.get("total"))
    if done is None:
        return result.state
    if total is None or total <= 0:
        return f"{result.state}: {done:g}"
    return f"{result.state}: {done:g} of {total:g}, {100 * done / total:.0f} %"


def _number(value: Any) -> float | None:
    """It, if it is a number that people can read."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return value if fits else None


def complain(result: Result) -> None:
    """Say on standard error where the task failed, and why."""
    for text in (result.traceback or "").rstrip().splitlines()[-TRACE_LINES - 1 : -1]:
        click.secho(f"  {text}", err=True, dim=True)
    click.secho(_reason(result), fg="red", err=True)


def _reason(result: Result) -> str:
    """The remote exception in one line."""
    if not isinstance(result.value, dict) or "exc_type" not in result.value:
        return result.state if result.value is None else f"{result.state}: {result.value}"
    message = result.value.get("exc_message", "")
    if isinstance(message, (list, tuple)):
        message = ", ".join(str(part) for part in message)
    return f"{result.value['exc_type']}: {message}" if message else str(result.value["exc_type"])


def _when(date_done: str) -> str:
    """A stored date (ISO 8601; UTC if it names no zone, as Celery's) in local time."""
    try:
        moment = datetime.fromisoformat(date_done)
    except ValueError:
        return date_done
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return f"{screen.when(seconds)} ({screen.ago(seconds)})"


def record(result: Result) -> dict[str, Any]:
    """A result as programs read it: Celery's record."""
    return {
        "task_id": result.id,
        "status": result.state,
        "result": result.value,
        "traceback": result.traceback,
        "children": result.children,
        "date_done": result.date_done,
        **result.extra,
    }


def show(result: Result) -> None:
    """Print a result for people; a failure's reason and traceback follow on standard error."""
    colour = "green" if result.state == SUCCESS else "red" if result.state in READY_STATES else "yellow"
    state = result.state if result.state in READY_STATES else how_far(result)
    click.echo(f"{click.style(state, fg=colour, bold=True)}  {result.id}", err=True, nl=False)
    click.secho(f"  {_when(result.date_done)}" if result.date_done else "", err=True, dim=True)
    if result.state == SUCCESS:
        screen.show_json(result.value)
    elif result.state in READY_STATES:
        complain(result)
    elif result.value is not None:
        screen.show_json(result.value)
