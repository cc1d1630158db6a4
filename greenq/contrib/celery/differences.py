"""What of an adopted application behaves differently under greenq: for `greenq doctor`, and for the log."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from celery.app.defaults import DEFAULTS  # type: ignore[import-untyped]
from celery.app.task import Task  # type: ignore[import-untyped]
from celery.app.trace import task_has_custom  # type: ignore[import-untyped]

from greenq.contrib.celery.addresses import BRIDGE
from greenq.contrib.celery.meanings import MEANINGS
from greenq.contrib.celery.settings import KNOWN, NAMES
from greenq.shortrepr import shortrepr

__all__ = ["differences"]

MOST_NAMES = 4


def differences(app: Any) -> Iterator[tuple[str, str]]:
    """What its author should know: what differs, and what to do about it.

    Parameters:
        app: the adopted application, its tasks loaded.
    """
    celery = app.celery
    yield from _settings(celery)
    yield from _serializers(celery)
    yield from _tasks(app)
    steps = {kind: found for kind, found in celery.steps.items() if found}
    for kind, found in steps.items():
        names = ", ".join(sorted(getattr(step, "__name__", str(step)) for step in found))
        yield (
            f"its bootsteps of the {kind} ({names}) are not run",
            "do what they do in receivers of worker_init, worker_ready and worker_shutdown",
        )
    if any(celery.user_options.get(kind) for kind in ("worker", "preload")):
        yield (
            "its own options of the command celery worker are not known to greenq worker",
            "read them from environment variables, or from its configuration",
        )
    if str(app.settings.results.url).startswith(BRIDGE):
        yield (
            f"greenq has no result store like {celery.backend.as_uri()}: Celery's own backend keeps results",
            "that works, one call for each result; redis:// and db+ are stored in batches",
        )


def _settings(celery: Any) -> Iterator[tuple[str, str]]:
    for name, meaning in sorted(MEANINGS.items()):
        if meaning.kind != "different" or name not in DEFAULTS:
            continue
        value = celery.conf.get(name)
        if value == DEFAULTS[name] or value is None:
            continue
        hidden = name.startswith("security") or "password" in name
        shown = name if hidden else f"{name} = {shortrepr(value, 60)}"
        yield f"{shown} does something else here", meaning.text


def _serializers(celery: Any) -> Iterator[tuple[str, str]]:
    conf = celery.conf
    wanted = {*conf.accept_content, conf.task_serializer, conf.result_serializer}
    unknown = sorted(name for name in map(str, wanted) if NAMES.get(name.lower(), name.lower()) not in KNOWN)
    if unknown:
        yield (
            f"messages and results in {', '.join(unknown)} cannot be read: they are dead-lettered",
            "name a codec for each under serializers and accept in greenq.yaml",
        )


def _tasks(app: Any) -> Iterator[tuple[str, str]]:
    tasks = [task for name, task in app.celery.tasks.items() if not name.startswith("celery.")]
    own = [task.name for task in tasks if task.Strategy != Task.Strategy or task.Request != Task.Request]
    if own:
        yield (
            f"a Strategy or Request of their own is not used: {_some(own)}",
            "use Task.__call__, before_start and the signals, which are",
        )
    sending = [task.name for task in tasks if task_has_custom(task, "apply_async")]
    if sending:
        yield (
            f"their own apply_async is used by the application's calls, but not for what follows tasks in "
            f"workflows: {_some(sending)}",
            "use receivers of before_task_publish, which see both",
        )
    green = [task.name for task in tasks if inspect.iscoroutinefunction(inspect.unwrap(task.run))]
    if green:
        yield (
            f"they are coroutine functions, which Celery does not wait for either: {_some(green)}",
            "make them tasks of a greenq.GreenQ, which runs coroutine functions on every pool",
        )
    limited = [task.name for task in tasks if task.rate_limit]
    if limited and not app.throttling.available:
        yield (
            f"their rate_limit is not kept: {_some(limited)}",
            "set throttling.url to a redis:// that all workers reach",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"
