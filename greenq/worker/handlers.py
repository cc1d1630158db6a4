"""What the worker needs of each task, resolved once at start so that no message pays for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenq.batches import Batch
from greenq.lifecycle import Lifecycle, body_of
from greenq.task import Task
from greenq.worker.hooks import NO_HOOKS, Hooks
from greenq.worker.marks import Marks

__all__ = ["Handler", "handlers_of", "limits_of"]


NUMBERS = (int, float)


@dataclass(frozen=True, slots=True)
class Handler:
    """One task, ready to run.

    Parameters:
        call: the user's function, bound to the task, made plain if it is a coroutine function, with the
            middleware's hooks around it, and what its class does around it.
        limited: the same for a call that has a hard limit.
        acks_late: settle after the run; otherwise before it.
        time_limit, soft_time_limit: seconds; None for no limit.
        acks_on_failure, acks_on_timeout: acknowledge also what failed, or ran past its hard limit; otherwise
            it becomes a dead letter.
        store_result, store_errors, track_started: whether its end, a bad end, and its beginning are kept.
        throws: exceptions that are logged without a traceback.
        watched: the task's class has hooks that are called when a run has ended.
        lifecycle: calls them, and sends the signals about runs.
        batch: how many calls are run at once, if more than one.
        declared: the limits that callers who know the task send along; `time_limit` and `soft_time_limit`
            may have been changed since.
        tally: how many of its calls were fetched, as the only item.
    """

    task: Task[Any, Any]
    call: Callable[..., Any]
    limited: Callable[..., Any]
    acks_late: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    time_limit: float | None
    soft_time_limit: float | None
    store_result: bool
    store_errors: bool
    track_started: bool
    throws: tuple[type[BaseException], ...]
    watched: bool
    lifecycle: Lifecycle
    batch: Batch | None = None
    declared: Sequence[float | None] = (None, None)
    tally: list[int] = field(default_factory=lambda: [0])


def handlers_of(
    tasks: Mapping[str, Task[Any, Any]],
    bind: Callable[[Callable[..., Any]], Callable[..., Any]],
    stores: bool,
    hooks: Hooks = NO_HOOKS,
    marks: Marks | None = None,
) -> dict[str, Handler]:
    """Resolve every task of an application.

    Parameters:
        bind: the pool's, which makes coroutine functions plain.
        stores: whether there is a result store at all.
        hooks: what is done around every run.
        marks: of the process, if it has any, for calls with a hard limit.
    """
    table = {}
    for name, task in tasks.items():
        options = task.options
        body = body_of(task)
        call = limited = hooks.around(body, bind)
        if marks is not None:
            limited = hooks.around(marks.around(task, options.time_limit, body), bind)
        lifecycle = task.lifecycle_kind(task, bind)
        table[name] = Handler(
            task=task,
            call=call if options.time_limit is None else limited,
            limited=limited,
            acks_late=options.acks_late,
            acks_on_failure=options.acks_on_failure,
            acks_on_timeout=options.acks_on_timeout,
            time_limit=options.time_limit,
            soft_time_limit=options.soft_time_limit,
            store_result=stores and not options.ignore_result,
            store_errors=stores and (not options.ignore_result or options.store_errors_even_if_ignored),
            track_started=stores and options.track_started,
            throws=options.throws,
            watched=lifecycle.watches,
            lifecycle=lifecycle,
            batch=options.batch,
            declared=[options.time_limit, options.soft_time_limit],
        )
    return table


def limits_of(handler: Handler | None, headers: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The hard and the soft limit (seconds) of one delivery: its own, or else its task's."""
    own = headers.get("timelimit")
    hard, soft = own if isinstance(own, (list, tuple)) and len(own) == 2 else (None, None)
    # Not checked yet: what is no number is refused when the message is read. Celery's 0 means no limit.
    hard = hard if hard.__class__ in NUMBERS and hard > 0 else None
    soft = soft if soft.__class__ in NUMBERS and soft > 0 else None
    if handler is not None:
        hard = handler.time_limit if hard is None else hard
        soft = handler.soft_time_limit if soft is None else soft
    return hard, soft
