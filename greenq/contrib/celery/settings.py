"""An adopted application's configuration as settings of greenq's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from greenq.contrib.celery.addresses import broker_of, results_of

__all__ = ["routes_of", "settings_of"]

NAMES = {
    "application/json": "json", "application/x-yaml": "yaml", "application/x-python-serialize": "pickle",
    "application/x-msgpack": "msgpack", "application/data": "auth", "text/yaml": "yaml",
}  # fmt: skip
"""The serializers of content types, which ``accept_content`` may have instead of names."""
KNOWN = ("json", "yaml", "pickle", "msgpack")
LONGEST_LIMIT = 1e9
LEAST_MEMORY = 1024 * 1024
ROUTED = ("queue", "exchange", "routing_key", "priority", "serializer", "compression")
"""The options that routes of a greenq.yaml can have."""


def settings_of(app: Any) -> dict[str, Any]:
    """What greenq's configuration says for an application of Celery's, where nobody says otherwise.

    Parameters:
        app: the `celery.Celery`, its own configuration final.
    """
    conf = app.conf
    queues = {name: _queue(queue) for name, queue in app.amqp.queues.items()}
    worker: dict[str, Any] = {"queues": list(app.amqp.queues.consume_from)}
    if isinstance(conf.worker_concurrency, int) and conf.worker_concurrency > 0:
        worker["concurrency"] = conf.worker_concurrency
    if conf.worker_max_tasks_per_child:
        worker["max_tasks"] = int(conf.worker_max_tasks_per_child)
    if conf.worker_max_memory_per_child:
        worker["max_memory"] = max(int(conf.worker_max_memory_per_child) * 1024, LEAST_MEMORY)
    if conf.worker_soft_shutdown_timeout:
        worker["shutdown_timeout"] = float(conf.worker_soft_shutdown_timeout)
    return {
        "broker": {"url": broker_of(app)},
        "results": {
            "url": results_of(app),
            "expires": seconds(conf.result_expires),
            "serializer": _serializer(conf.result_serializer),
            "extended": bool(conf.result_extended),
        },
        "worker": worker,
        "tasks": _tasks(conf),
        "accept": _accept(conf),
        "queues": {name: about for name, about in queues.items() if about},
    }


def routes_of(routes: Any) -> list[dict[str, Any]]:
    """Those of Celery's routes that are no functions, as a greenq.yaml has them.

    Parameters:
        routes: ``task_routes``.
    """
    if isinstance(routes, Mapping):
        routes = routes.items()
    found = []
    for one in routes if isinstance(routes, list | tuple) or hasattr(routes, "__iter__") else ():
        if isinstance(one, Mapping):
            found += routes_of(one)
        elif isinstance(one, list | tuple) and len(one) == 2 and not isinstance(one[0], list | tuple):
            match, options = one
            match = f"re:{match.pattern}" if isinstance(match, re.Pattern) else match
            options = {"queue": options} if isinstance(options, str) else options
            found.append({"match": match} | {name: options[name] for name in ROUTED if options.get(name)})
        elif isinstance(one, list | tuple):
            found += routes_of(one)
    return found


def seconds(value: Any) -> float | None:
    """A time of Celery's configuration in seconds; None for none, which is also what 0 means."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is None or not 0 < float(value) <= LONGEST_LIMIT:
        return None
    return float(value)


def _tasks(conf: Any) -> dict[str, Any]:
    hard, soft = seconds(conf.task_time_limit), seconds(conf.task_soft_time_limit)
    if hard is not None and soft is not None and soft > hard:
        soft = None  # Celery has no objection, and never comes to it
    return {
        "serializer": _serializer(conf.task_serializer),
        "compression": conf.task_compression or None,
        "queue": conf.task_default_queue,
        "acks_late": bool(conf.task_acks_late),
        "ignore_result": bool(conf.task_ignore_result),
        "track_started": bool(conf.task_track_started),
        "time_limit": hard,
        "soft_time_limit": soft,
        "priority": _priority(conf.task_default_priority),
        "inherit_priority": bool(conf.task_inherit_parent_priority),
        "eager": bool(conf.task_always_eager),
        "errbacks_on_headers": bool(conf.task_allow_error_cb_on_chord_header),
    }


def _accept(conf: Any) -> list[str]:
    """What a worker decodes, messages and results: names, without those that only kombu knows."""
    named = [*(conf.accept_content or ()), *(conf.result_accept_content or ())]
    names = [NAMES.get(str(one).lower(), str(one).lower()) for one in named]
    own = [_serializer(conf.task_serializer), _serializer(conf.result_serializer)]
    return list(dict.fromkeys(name for name in [*names, *own] if name in KNOWN)) or ["json"]


def _serializer(name: Any) -> str:
    found = NAMES.get(str(name).lower(), str(name).lower())
    return found if found in KNOWN else "json"


def _priority(value: Any) -> int | None:
    return int(value) if value is not None and 0 <= int(value) <= 9 else None


def _queue(queue: Any) -> Mapping[str, Any]:
    """What a `kombu.Queue` is that a plain queue is not; empty for a plain one."""
    exchange = queue.exchange
    about: dict[str, Any] = {}
    if type(queue).__name__ == "Broadcast":
        return {"broadcast": True, "exchange": exchange.name}
    bindings = [binding.routing_key for binding in queue.bindings or ()]
    if exchange.name and (exchange.type != "direct" or bindings):
        about["exchange"] = exchange.name
        about["exchange_type"] = exchange.type
        about["routing_key"] = queue.routing_key or queue.name
        if bindings:
            about["bindings"] = sorted({key for key in bindings if key} - {about["routing_key"]})
        if queue.binding_arguments:
            about["binding_arguments"] = dict(queue.binding_arguments)
    if not queue.durable:
        about["durable"] = False
    if queue.auto_delete:
        about["auto_delete"] = True
    if queue.queue_arguments:
        about["arguments"] = dict(queue.queue_arguments)
    return about
