"""What clients in other languages send, byte for byte as far as a worker sees it, for tests to send.

Each builder has the defaults that its client has: what it leaves out is left out here, what it writes in an
odd way is written so.

Source: the clients' own code: celery-php (src/CeleryAbstract.php, src/RedisConnector.php,
src/AMQPLibConnector.php), gocelery (message.go, redis_broker.go, amqp_broker.go), rusty-celery
(src/protocol/mod.rs, src/broker/amqp.rs).
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import amqp

__all__ = ["CLIENTS", "Client", "Sent", "amqp_connection", "send_over_rabbitmq"]

QUEUE = "celery"


@dataclass(frozen=True)
class Sent:
    """One call, as a client writes it.

    Parameters:
        id: the task's.
        redis: what it pushes onto the list.
        exchange: where it publishes over RabbitMQ, having declared it with `declared`.
        body, properties: what it publishes there.
    """

    id: str
    redis: bytes
    body: bytes
    properties: dict[str, Any]
    exchange: str = ""
    declared: dict[str, Any] = field(default_factory=dict)


Client = Callable[..., Sent]


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def php(task: str, *args: Any, eta: datetime | None = None, **kwargs: Any) -> Sent:
    """celery-php: protocol 1 without most fields, ids of its own kind, a time without a zone."""
    id = f"php_{uuid.uuid4().hex[:14]}.{uuid.uuid4().int % 10**8:08}"
    call: dict[str, Any] = {"id": id, "task": task, "args": args, "kwargs": kwargs}
    if eta is not None:
        call["eta"] = eta.strftime("%Y-%m-%dT%H:%M:%S")
    body = json.dumps(call).replace("/", "\\/").encode()
    envelope = {
        "body": _base64(body),
        "headers": {},
        "content-type": "application/json",
        "content-encoding": "binary",
        "properties": {
            "body_encoding": "base64",
            "reply_to": id,
            "delivery_info": {"priority": 0, "routing_key": QUEUE, "exchange": QUEUE},
            "delivery_mode": 2,
            "delivery_tag": id,
        },
    }
    properties = {"content_type": "application/json", "content_encoding": "UTF-8"}
    redis = json.dumps(envelope).replace("/", "\\/").encode()
    return Sent(id, redis, body, properties, QUEUE, {"durable": True, "auto_delete": False})


def go(task: str, *args: Any, eta: datetime | None = None, **kwargs: Any) -> Sent:
    """gocelery: protocol 1, on Redis without headers, over RabbitMQ without an encoding."""
    id = str(uuid.uuid4())
    call = {
        "id": id, "task": task, "args": args, "kwargs": kwargs or None, "retries": 0,
        "eta": None if eta is None else eta.strftime("%Y-%m-%dT%H:%M:%SZ"), "expires": None,
    }  # fmt: skip
    body = json.dumps(call, separators=(",", ":")).encode()
    envelope = {
        "body": _base64(body),
        "content-type": "application/json",
        "properties": {
            "body_encoding": "base64",
            "correlation_id": str(uuid.uuid4()),
            "reply_to": str(uuid.uuid4()),
            "delivery_info": {"priority": 0, "routing_key": QUEUE, "exchange": QUEUE},
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
        },
        "content-encoding": "utf-8",
    }
    redis = json.dumps(envelope, separators=(",", ":")).encode()
    properties = {"content_type": "application/json", "delivery_mode": 2}
    return Sent(id, redis, body, properties, "default", {"durable": True, "auto_delete": True})


def rust(task: str, *args: Any, eta: datetime | None = None, **kwargs: Any) -> Sent:
    """rusty-celery: protocol 2, every argument by name, nulls for what is unknown, times with nanoseconds.

    It knows no arguments but named ones; `args` are given the names ``x`` and ``y``.
    """
    id = str(uuid.uuid4())
    named = dict(zip("xy", args, strict=False)) | kwargs
    body = json.dumps(
        [[], named, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
        separators=(",", ":"),
    ).encode()
    headers: dict[str, Any] = {
        "id": id, "task": task, "lang": None, "root_id": None, "parent_id": None, "group": None,
        "meth": None, "shadow": None, "eta": None if eta is None else f"{eta:%Y-%m-%dT%H:%M:%S.%f}789+00:00",
        "expires": None, "retries": None, "timelimit": [None, None], "argsrepr": None, "kwargsrepr": None,
        "origin": "gen4242@rusty",
    }  # fmt: skip
    envelope = {
        "body": _base64(body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": id, "reply_to": None, "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
        },
    }  # fmt: skip
    over_rabbitmq = {name: value for name, value in headers.items() if value is not None}
    if eta is not None:
        over_rabbitmq["eta"] = f"{eta:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+00:00"
    properties = {
        "correlation_id": id, "content_type": "application/json", "content_encoding": "utf-8",
        "application_headers": over_rabbitmq, "priority": 0, "delivery_mode": 2,
    }  # fmt: skip
    return Sent(id, json.dumps(envelope, separators=(",", ":")).encode(), body, properties)


CLIENTS: dict[str, Client] = {"celery-php": php, "gocelery": go, "rusty-celery": rust}


def amqp_connection(url: str) -> Any:
    """A connection for the duration of a ``with`` block.

    Parameters:
        url: ``amqp://user:password@host:port/virtual-host``.
    """
    login, _, place = url.partition("://")[2].partition("@")
    user, _, password = login.partition(":")
    host, _, virtual_host = place.partition("/")
    return amqp.Connection(host, userid=user, password=password, virtual_host=virtual_host)


def send_over_rabbitmq(url: str, sent: Sent) -> None:
    """Declare what the client declares, and publish."""
    with amqp_connection(url) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        if sent.exchange:
            channel.exchange_declare(sent.exchange, "direct", **sent.declared)
            channel.queue_bind(QUEUE, sent.exchange, QUEUE)
        message = amqp.Message(sent.body, **sent.properties)
        channel.basic_publish(message, exchange=sent.exchange, routing_key=QUEUE)
