"""Read the address of RabbitMQ: nodes, user, virtual host, TLS, how queues are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from greenq.config.masking import mask
from greenq.errors import ConfigError
from greenq.serveraddress import options, seconds, split, yes
from greenq.tls import OPTIONS as TLS_OPTIONS
from greenq.tls import Tls, read

__all__ = ["Address", "parse"]

SECURE = ("amqps", "pyamqps", "rpcs")
OPTIONS = (
    "heartbeat", "connect_timeout", "queue_type", "max_priority", "login_method", "consumer_timeout", "ssl",
    "management",
    "celery_delay", "confirm_publish",
)  # fmt: skip
QUEUE_TYPES = ("classic", "quorum")


@dataclass(frozen=True, slots=True)
class Address:
    """Where RabbitMQ is, and how queues are made there.

    Parameters:
        nodes: host and port of each.
        external: the server knows us by our certificate.
        heartbeat: seconds; twice as much silence ends a connection. 0 for none.
        connect_timeout: seconds for each node.
        queue_type: of queues that do not exist yet: ``classic`` or ``quorum``.
        max_priority: ``x-max-priority`` of queues that do not exist yet; None for queues without priorities.
        celery_delay: workers take part in Celery's native delayed delivery.
        confirm_publish: sending waits until the server has the message; a worker's sending always does.
        consumer_timeout: the server's setting of that name in seconds; 0 if it is switched off.
        management: ``http://host:port`` of the management plugin; None for its usual port, "" for none.
    """

    nodes: tuple[tuple[str, int], ...] = (("localhost", 5672),)
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: Tls | None = None
    external: bool = False
    heartbeat: float = 20.0
    connect_timeout: float = 5.0
    queue_type: str = "classic"
    max_priority: int | None = None
    celery_delay: bool = False
    confirm_publish: bool = True
    consumer_timeout: float = 1800.0
    management: str | None = None
    shown: str = ""


def parse(url: str) -> Address:
    """Read an address.

    Parameters:
        url: ``amqp://user:password@host:port/vhost?option=value``, ``amqps://`` for TLS; several nodes of a
            cluster joined by ``;``. As with Celery an empty virtual host is ``/``.

    Raises:
        ConfigError: it has a mistake.
    """
    parts = [part for part in re.split(r"[;,](?=[a-z+]+://)", url.strip()) if part]
    splits = [split(part) for part in parts]
    first, last = splits[0], splits[-1]
    scheme = first.scheme
    if any(part.scheme != scheme for part in splits):
        raise ConfigError("the nodes of a cluster must all have the same scheme, amqp:// or amqps://")
    secure = scheme in SECURE or yes(dict(parse_qsl(last.query)), "ssl")
    given = options(last, OPTIONS + TLS_OPTIONS if secure else OPTIONS, "amqps")
    port = 5671 if secure else 5672
    queue_type = given.get("queue_type", "classic")
    if queue_type not in QUEUE_TYPES:
        raise ConfigError(f"queue_type is {queue_type!r}: choose {' or '.join(QUEUE_TYPES)}")
    most = _priority(given["max_priority"]) if "max_priority" in given else None
    if most is not None and queue_type == "quorum":
        raise ConfigError("quorum queues have no x-max-priority: drop max_priority or queue_type")
    login = given.get("login_method", "PLAIN").upper()
    if login not in ("PLAIN", "EXTERNAL"):
        raise ConfigError(f"login_method is {login!r}: choose PLAIN or EXTERNAL")
    named = next((part for part in splits if part.username), first)
    return Address(
        nodes=tuple(dict.fromkeys((unquote(p.hostname or "localhost"), p.port or port) for p in splits)),
        user=unquote(named.username) if named.username else "guest",
        password=unquote(named.password) if named.password is not None else "guest",
        vhost=_vhost(last.path or first.path),
        tls=read(given) if secure else None,
        external=login == "EXTERNAL",
        heartbeat=seconds("heartbeat", given.get("heartbeat", "20"), zero=True),
        connect_timeout=seconds("connect_timeout", given.get("connect_timeout", "5")),
        queue_type=queue_type,
        max_priority=most,
        celery_delay=yes(given, "celery_delay"),
        confirm_publish="confirm_publish" not in given or yes(given, "confirm_publish"),
        consumer_timeout=seconds("consumer_timeout", given.get("consumer_timeout", "1800"), zero=True),
        management=_management(given.get("management")),
        shown=mask(url.partition("?")[0]),
    )


def _vhost(path: str) -> str:
    """``amqp://host//`` and ``amqp://host/`` are both ``/``, as kombu has it."""
    name = unquote(path.removeprefix("/"))
    return name or "/"


def _priority(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 255:
        raise ConfigError(f"max_priority is {text!r}: give a number from 1 to 255, 9 for greenq's ten")
    return int(text)


def _management(url: str | None) -> str | None:
    if not url:
        return url
    parts = split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigError(
            f"management is {mask(url)!r}: give http://host:15672; it is asked with the broker's own user"
        )
    return url
