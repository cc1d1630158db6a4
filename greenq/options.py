"""The options of tasks and of calls: which there are, their types, and a task's resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict

from greenq.batches import Batch
from greenq.config.schema import TaskSettings
from greenq.throttling.rules import By

__all__ = ["CallOptions", "DeclaredOptions", "NextOptions", "TaskOptions"]

Exceptions = tuple[type[BaseException], ...] | list[type[BaseException]] | type[BaseException]


class DeclaredOptions(TypedDict, total=False):
    """What ``@app.task(…)`` takes, beside `bind`, `name` and `base`; the manual's "Tasks" explains each."""

    max_retries: int | None
    default_retry_delay: float
    autoretry_for: Exceptions
    dont_autoretry_for: Exceptions
    retry_if: Callable[[Any], object]
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_kwargs: Mapping[str, Any]
    acks_late: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    acks_on_failure_or_timeout: bool
    reject_on_worker_lost: bool
    ignore_result: bool
    store_errors_even_if_ignored: bool
    track_started: bool
    trail: bool
    expires: float | None
    priority: int | None
    batch: Batch | None
    queue: str
    exchange: str | None
    routing_key: str | None
    serializer: str
    compression: str | None
    time_limit: float | None
    soft_time_limit: float | None
    throws: Exceptions
    typing: bool
    typed: bool
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: Mapping[str, Any] | None
    pydantic_dump_kwargs: Mapping[str, Any] | None
    unique: By | None
    unique_for: float | None
    unique_until: Literal["start", "end"]
    on_duplicate: Literal["refuse", "return"]
    rate_limit: str | float | None
    rate_limit_by: By | None
    concurrency_limit: int | None
    concurrency_limit_by: By | None


class NextOptions(TypedDict, total=False):
    """What `Task.retry` takes for the next call, beside its own parameters."""

    expires: float | datetime | None
    queue: str | None
    exchange: str | None
    routing_key: str | None
    priority: int | None
    serializer: str | None
    compression: str | None
    headers: Mapping[str, Any] | None
    task_id: str | None
    retries: int
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    shadow: str | None
    reply_to: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    add_to_parent: bool


class CallOptions(NextOptions, total=False):
    """What `Task.apply_async`, `GreenQ.send_task` and ``Task.call(…).set`` take; see "Calling"."""

    countdown: float | None
    eta: datetime | None
    link: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
    link_error: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
    chain: Sequence[Mapping[str, Any]] | None
    chord: Mapping[str, Any] | None
    route_name: str | None
    stamped_headers: Sequence[str] | None
    replaced_task_nesting: int | None
    unique: By | None
    unique_for: float | None
    unique_until: Literal["start", "end"] | None
    on_duplicate: Literal["refuse", "return"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """A task's options once and for all: its own, else its base class's, else the configuration's.

    Parameters:
        default_retry_delay, retry_backoff_max: seconds.
        retry_if: asked about an exception that `autoretry_for` means; about each if that is not given.
        retry_backoff: seconds before the first retry, doubled each time; 0 for no backoff.
        acks_late: acknowledge after the run; otherwise before it.
        acks_on_failure, acks_on_timeout: with `acks_late`, acknowledge also after a failure, or after the
            hard limit; otherwise the message becomes a dead letter.
        store_errors_even_if_ignored: with `ignore_result`, failures are stored nevertheless.
        trail: the results of the tasks that it sends are stored with its own, as `children`.
        expires: seconds after which a call is not begun.
        queue, priority, serializer, compression: of calls that say nothing else.
        time_limit, soft_time_limit: seconds; None for no limit.
        throws: exceptions that are expected: logged without a traceback.
        typing: check arguments where the task is called.
        typed, pydantic: convert arguments by the annotations, with msgspec or with pydantic; the three that
            begin with ``pydantic_`` are handed to it.
        unique, unique_for, unique_until, on_duplicate, rate_limit, rate_limit_by, concurrency_limit,
            concurrency_limit_by: as declared; `Task.rules` is what they come to.
    """

    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_if: Callable[[Any], object] | None = None
    retry_backoff: float = 0.0
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    retry_kwargs: Mapping[str, Any]
    acks_late: bool = True
    acks_on_failure: bool = True
    acks_on_timeout: bool = True
    ignore_result: bool = False
    store_errors_even_if_ignored: bool = False
    track_started: bool = False
    trail: bool = True
    expires: float | None = None
    priority: int = 0
    batch: Batch | None = None
    queue: str = "celery"
    exchange: str | None = None
    routing_key: str | None = None
    serializer: str = "json"
    compression: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    throws: tuple[type[BaseException], ...] = ()
    typing: bool = True
    typed: bool = False
    pydantic: bool = False
    pydantic_strict: bool = False
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None
    unique: By | None = None
    unique_for: float | None = None
    unique_until: str = "end"
    on_duplicate: str = "refuse"
    rate_limit: str | float | None = None
    rate_limit_by: By | None = None
    concurrency_limit: int | None = None
    concurrency_limit_by: By | None = None

    @classmethod
    def resolve(cls, declared: Mapping[str, Any], defaults: TaskSettings, **sending: Any) -> TaskOptions:
        """Fill in what a task does not say.

        Parameters:
            declared: what it says, checked.
            defaults: the configuration's.
            sending: `queue`, `priority`, `serializer` and `compression`, which routes have a say in.
        """
        values = {
            "max_retries": defaults.max_retries, "default_retry_delay": defaults.retry_delay,
            "acks_late": defaults.acks_late, "ignore_result": defaults.ignore_result,
            "track_started": defaults.track_started, "expires": defaults.expires,
            "time_limit": defaults.time_limit, "soft_time_limit": defaults.soft_time_limit,
            "retry_kwargs": {}, **declared, **sending,
        }  # fmt: skip
        values.pop("reject_on_worker_lost", None)
        both = values.pop("acks_on_failure_or_timeout", True)
        values.setdefault("acks_on_failure", both)
        values.setdefault("acks_on_timeout", both)
        for name in ("autoretry_for", "dont_autoretry_for", "throws"):
            kinds = values.get(name, ())
            values[name] = tuple(kinds) if isinstance(kinds, list | tuple) else (kinds,)
        if values.get("retry_if") is not None and "autoretry_for" not in declared:
            values["autoretry_for"] = (Exception,)
        values["retry_backoff"] = float(values.get("retry_backoff", False))
        return cls(**values)
