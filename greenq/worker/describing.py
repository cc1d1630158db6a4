"""What a worker tells of itself to remote control, in Celery's keys.

Source: celery/worker/request.py (``info``), celery/worker/worker.py (``stats``), kombu/entity.py.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from greenq.errors import MessageError
from greenq.exchanges import Shape
from greenq.message import Delivery
from greenq.request import Request
from greenq.worker.runner import Runner
from pools.base import Call, Pool

__all__ = ["broker_info", "pool_info", "queue_info", "rusage", "scheduled_info", "task_info"]

TIMER_PRIORITY = 6
"""What Celery says of each task that waits: the priority of its timer's entry, which is no task's."""

LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1
"""Seconds since the epoch; a message may say a later time, which has no date."""


def task_info(runner: Runner, delivery: Delivery, call: Call | None, safe: bool) -> dict[str, Any] | None:
    """One task; None if its message can't be read.

    Parameters:
        call: its run, if it runs.
        safe: tell its arguments as text.
    """
    try:
        handler, request = runner.request_of(delivery)
    except MessageError:
        return None
    began = time.time() - (Pool.now() - call.started) if call is not None and call.started else None
    return {
        "id": request.id,
        "name": request.task,
        "args": request.argsrepr if safe else list(request.args),
        "kwargs": request.kwargsrepr if safe else request.kwargs,
        "type": request.task,
        "hostname": request.hostname,
        "time_start": began,
        "acknowledged": call is not None and not handler.acks_late,
        "delivery_info": _delivery_info(request),
        "worker_pid": os.getpid() if call is not None else None,
    }


def scheduled_info(runner: Runner, delivery: Delivery) -> dict[str, Any] | None:
    """One task that waits for its time; None if its message can't be read."""
    info = task_info(runner, delivery, None, False)
    if info is None or delivery.message is None or delivery.message.due is None:
        return None
    try:
        # To the microsecond that its sender wrote, where it wrote one.
        eta = datetime.fromisoformat(delivery.message.headers.get("eta") or "")
        eta = eta.replace(tzinfo=UTC) if eta.tzinfo is None else eta.astimezone(UTC)
    except (TypeError, ValueError):
        eta = datetime.fromtimestamp(min(delivery.message.due, LATEST), UTC)
    return {"eta": eta.isoformat(), "priority": TIMER_PRIORITY, "request": info}


def _delivery_info(request: Request) -> dict[str, Any]:
    info = request.delivery_info
    return {name: info.get(name) for name in ("exchange", "routing_key", "priority", "redelivered")}


def pool_info(pool: Pool, soft: float | None, hard: float | None, max_tasks: int | None) -> dict[str, Any]:
    """The pool: its kind and its size.

    Parameters:
        soft, hard: the time limits in seconds that hold for all tasks.
    """
    return {
        "implementation": f"{type(pool).__module__}:{type(pool).__qualname__}",
        "max-concurrency": pool.capacity,
        "processes": [os.getpid()],
        "max-tasks-per-child": max_tasks if max_tasks is not None else "N/A",
        "put-guarded-by-semaphore": True,
        "timeouts": [soft or 0, hard or 0],
        "writes": {"inqueues": {"active": 0, "total": 0}, "all": "", "avg": "0%", "raw": "",
                   "strategy": "fair", "total": 0},
        "busy": pool.busy,
        "free-threads": pool.free,
    }  # fmt: skip


def broker_info(url: str, heartbeat: float, timeout: float) -> dict[str, Any]:
    """The broker's address, without its secrets.

    Parameters:
        heartbeat: seconds after which a process that is silent is taken for dead.
        timeout: seconds that a call to it may take.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    transport = parts.scheme.partition("+")[0]
    return {
        "hostname": parts.hostname,
        "userid": unquote(parts.username) if parts.username else None,
        "virtual_host": unquote(parts.path.lstrip("/")) or "/",
        "port": port,
        "insist": False,
        "ssl": parts.scheme in ("rediss", "amqps"),
        "transport": transport,
        "connect_timeout": timeout,
        "transport_options": {},
        "login_method": None,
        "uri_prefix": None,
        "heartbeat": heartbeat,
        "failover_strategy": "round-robin",
        "alternates": [],
        "credential_provider": None,
    }


def rusage() -> dict[str, Any]:
    """What the process has used of the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    names = (
        "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock",
        "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
    )  # fmt: skip
    return {name: getattr(used, f"ru_{name}") for name in names}


def queue_info(names: Sequence[str], shapes: Mapping[str, Shape]) -> list[dict[str, Any]]:
    """Queues, as kombu describes them."""
    found = []
    for name in names:
        shape = shapes.get(name)
        exchange, kind, durable = name, "direct", True
        key, arguments, auto_delete = name, None, False
        bindings: list[dict[str, Any]] = []
        if shape is not None:
            exchange, kind, durable = shape.exchange or name, shape.type, shape.durable
            key, auto_delete = shape.keys[0] if shape.keys else name, shape.auto_delete
            arguments = dict(shape.arguments) or None
        found.append(
            {
                "name": name,
                "exchange": {
                    "name": exchange, "type": kind, "arguments": None, "durable": durable, "passive": False,
                    "auto_delete": False, "delivery_mode": None, "no_declare": False,
                },
                "routing_key": key, "queue_arguments": arguments, "binding_arguments": None,
                "consumer_arguments": None, "durable": durable, "exclusive": False,
                "auto_delete": auto_delete, "no_ack": False, "alias": None, "bindings": bindings,
                "no_declare": None, "expires": None, "message_ttl": None, "max_length": None,
                "max_length_bytes": None, "max_priority": (arguments or {}).get("x-max-priority"),
            }
        )  # fmt: skip
    return found
