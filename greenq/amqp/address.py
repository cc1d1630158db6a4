"""Read the address of RabbitMQ: nodes, user, virtual host, TLS, how queues are made."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from greenq.config.masking import mask
from greenq.errors import ConfigError

__all__ = ["Address", "Tls", "parse"]

SECURE = ("amqps", "pyamqps", "rpcs")
TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
OPTIONS = (
    "heartbeat", "connect_timeout", "queue_type", "max_priority", "login_method", "consumer_timeout", "ssl",
    "management",
    "celery_delay",
)  # fmt: skip
QUEUE_TYPES = ("classic", "quorum")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is secured.

    Parameters:
        verify: ``required``, ``optional`` or ``none``.
        ca, certificate, key: paths of PEM files.
        hostname: whether the certificate must name the host.
    """

    verify: str = "required"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    hostname: bool = True


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
    splits = [_split(part) for part in parts]
    first, last = splits[0], splits[-1]
    scheme = first.scheme
    if any(part.scheme != scheme for part in splits):
        raise ConfigError("the nodes of a cluster must all have the same scheme, amqp:// or amqps://")
    given = _options(last, scheme)
    secure = scheme in SECURE or _yes(given, "ssl")
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
        tls=_tls(given) if secure else None,
        external=login == "EXTERNAL",
        heartbeat=_seconds("heartbeat", given.get("heartbeat", "20"), zero=True),
        connect_timeout=_seconds("connect_timeout", given.get("connect_timeout", "5")),
        queue_type=queue_type,
        max_priority=most,
        celery_delay=_yes(given, "celery_delay"),
        consumer_timeout=_seconds("consumer_timeout", given.get("consumer_timeout", "1800"), zero=True),
        management=_management(given.get("management")),
        shown=mask(url.partition("?")[0]),
    )


def _vhost(path: str) -> str:
    """``amqp://host//`` and ``amqp://host/`` are both ``/``, as kombu has it."""
    name = unquote(path.removeprefix("/"))
    return name or "/"


def _split(url: str) -> SplitResult:
    if "#" in url:
        raise ConfigError("the address has a #: write %23 if the password or a name holds one")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"the address {mask(url)} cannot be read: {error}") from None
    return parts


def _options(parts: SplitResult, scheme: str) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = [*OPTIONS, *TLS_OPTIONS]
    secure = scheme in SECURE or _yes(given, "ssl")
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"a {scheme}:// address has no option {mask(name)}: {hint}")
        if name in TLS_OPTIONS and not secure:
            raise ConfigError(f"{name} is for TLS: write amqps:// instead of {scheme}://")
    return given


def _yes(given: dict[str, str], name: str) -> bool:
    text = given.get(name, "no").lower()
    if text not in ("1", "true", "yes", "0", "false", "no"):
        raise ConfigError(f"{name} is {text!r}: choose yes or no")
    return text in ("1", "true", "yes")


def _seconds(name: str, text: str, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e7 or (not value and not zero):
        raise ConfigError(f"{name} is {text!r}: give seconds {'from' if zero else 'above'} 0")
    return value


def _priority(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 255:
        raise ConfigError(f"max_priority is {text!r}: give a number from 1 to 255, 9 for greenq's ten")
    return int(text)


def _management(url: str | None) -> str | None:
    if not url:
        return url
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigError(
            f"management is {mask(url)!r}: give http://host:15672; it is asked with the broker's own user"
        )
    return url


def _tls(given: dict[str, Any]) -> Tls:
    text = given.get("ssl_cert_reqs", "required")
    verify = text.lower().removeprefix("cert_")
    if verify not in ("required", "optional", "none"):
        raise ConfigError(f"ssl_cert_reqs is {text!r}: choose required, optional or none")
    return Tls(
        verify,
        given.get("ssl_ca_certs"),
        given.get("ssl_certfile"),
        given.get("ssl_keyfile"),
        given.get("ssl_check_hostname", "true").lower() not in ("0", "false", "no"),
    )
