"""Read the address of a Redis server: hosts, database, user, TLS, Sentinel, what a fleet agrees on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote

from greenq.errors import ConfigError
from greenq.serveraddress import options, seconds, split
from greenq.tls import OPTIONS as TLS_OPTIONS
from greenq.tls import Tls, read

__all__ = ["Address", "parse"]

PORT, SENTINEL_PORT = 6379, 26379
PLAIN = ("redis", "valkey")
SECURE = ("rediss", "valkeys")
UNIX = ("redis+socket", "valkey+socket", "unix", "socket")
SENTINEL = ("sentinel",)
CLUSTER = ("redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster")
SEVERAL = SENTINEL + CLUSTER
TAG = "{greenq}."

SENTINEL_OPTIONS = ("master_name", "sentinel_username", "sentinel_password", "ssl")
OPTIONS = (
    "db", "virtual_host", "global_keyprefix", "visibility_timeout", "priority_steps", "sep",
    "unacked_key", "unacked_index_key", "unacked_mutex_key", "queue_order", "queue_weights",
)  # fmt: skip
LONGEST = 1e10
"""Seconds, and more than any visibility timeout; the weights of queues stay below it, too."""
ORDERS = ("strict", "round_robin", "weighted")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how keys are named there.

    Parameters:
        hosts: of the server, of its sentinels if `master` is set, or of some nodes of a `cluster`.
        path: of the Unix socket, instead of hosts.
        prefix: stands before every key (kombu's ``global_keyprefix``).
        steps: the priorities that have a list of their own, ascending (kombu's ``priority_steps``).
        visibility_timeout: seconds after which what a Celery worker left unacknowledged is restored.
        order: how a fetch goes through several queues: ``strict``, ``round_robin`` or ``weighted``.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    master: str | None = None
    cluster: bool = False
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    prefix: str = ""
    steps: tuple[int, ...] = (0, 3, 6, 9)
    sep: str = "\x06\x16"
    unacked: str = "unacked"
    unacked_index: str = "unacked_index"
    unacked_mutex: str = "unacked_mutex"
    visibility_timeout: float = 3600.0
    order: str = "strict"
    weights: tuple[tuple[str, float], ...] = ()

    @property
    def server(self) -> tuple[object, ...]:
        """Two addresses with the same value here reach one server and database as the same user."""
        return (tuple(sorted(self.hosts)), self.path, self.master, self.db, self.user, self.password)


def parse(url: str) -> Address:
    """Read an address.

    Parameters:
        url: ``redis://user:password@host:port/db?option=value``, ``rediss://`` for TLS, ``valkey://``,
            ``redis+socket:///path?db=1`` or ``unix:///path`` for a Unix socket,
            ``sentinel://host:port;sentinel://host2:port/db?master_name=name``.

    Raises:
        ConfigError: it has a mistake.
    """
    parts = _parts(url.strip())
    first, last = split(parts[0]), split(parts[-1])
    scheme = first.scheme
    if len(parts) > 1 and scheme not in SEVERAL:
        raise ConfigError("several addresses make sense with sentinel:// and clusters only: name one server")
    given = _options(last)
    common: dict[str, Any] = {
        "user": unquote(first.username) if first.username else None,
        "password": unquote(first.password) if first.password else None,
        **_fleet(given),
    }
    if scheme in UNIX:
        path = unquote(first.netloc.rpartition("@")[2] + first.path)
        if not path.startswith("/"):
            raise ConfigError(
                f"{scheme}:// needs the absolute path of a Unix socket, such as {scheme}:///run/redis.sock"
            )
        return Address(path=path, db=_db(given.get("db", given.get("virtual_host", "0"))), **common)
    db = _db(given.get("db") or given.get("virtual_host") or last.path.strip("/") or "0")
    if scheme in SENTINEL:
        return _sentinel(parts, given, db, common)
    if scheme in CLUSTER:
        return _cluster(parts, given, db, common)
    tls = read(given) if scheme in SECURE else None
    return Address(hosts=(_host(first, PORT),), db=db, tls=tls, **common)


def _parts(url: str) -> list[str]:
    """The addresses in a list of them; further sentinels and nodes may be named by host and port alone."""
    parts: list[str] = []
    for part in re.split(r"[;,](?=[a-z+]+://)", url):
        scheme, separator, rest = part.partition("://")
        if not separator or scheme not in SEVERAL:
            parts.append(part)
            continue
        end = re.search("[/?]|$", rest)
        authority, path = rest[: end.start()], rest[end.start() :]  # type: ignore[union-attr]
        credentials, at, hosts = authority.rpartition("@")
        *first, last = re.split("[;,]", hosts)
        named = [*(f"{scheme}://{host}" for host in first), f"{scheme}://{last}{path}"]
        named[0] = named[0].replace("://", f"://{credentials}{at}", 1)
        parts += named
    return [part for part in parts if part]


def _host(parts: SplitResult, port: int) -> tuple[str, int]:
    return unquote(parts.hostname or "localhost"), parts.port or port


def _options(parts: SplitResult) -> dict[str, str]:
    scheme = parts.scheme
    known: tuple[str, ...] = OPTIONS
    if scheme in SECURE or scheme in SENTINEL or scheme.endswith("s+cluster"):
        known += TLS_OPTIONS
    if scheme in SENTINEL:
        known += SENTINEL_OPTIONS
    return options(parts, known, "rediss")


def _sentinel(parts: list[str], given: dict[str, str], db: int, common: dict[str, Any]) -> Address:
    if not given.get("master_name"):
        raise ConfigError(
            "a sentinel:// address needs the master's name: add ?master_name=NAME, as in sentinel.conf"
        )
    secure = given.get("ssl", "").lower() in ("1", "true", "yes") or any(key in given for key in TLS_OPTIONS)
    hosts = [_host(split(part), SENTINEL_PORT) for part in parts]
    return Address(
        hosts=tuple(dict.fromkeys(hosts)),
        db=db,
        master=given["master_name"],
        sentinel_user=given.get("sentinel_username"),
        sentinel_password=given.get("sentinel_password"),
        tls=read(given) if secure else None,
        **common,
    )


def _cluster(parts: list[str], given: dict[str, str], db: int, common: dict[str, Any]) -> Address:
    if db:
        raise ConfigError(f"a cluster has no database {db}: leave it out")
    common["prefix"] = prefix = common.get("prefix", TAG)
    if not re.search(r"\{[^}]+\}", prefix):
        raise ConfigError(
            "in a cluster all keys of an address must lie in one slot: "
            f"give global_keyprefix a {{tag}}, such as {{{prefix.rstrip('.:-_') or 'shop'}}}."
        )
    tls = read(given) if parts[0].startswith(("rediss", "valkeys")) else None
    hosts = dict.fromkeys(_host(split(part), PORT) for part in parts)
    return Address(hosts=tuple(hosts), cluster=True, tls=tls, **common)


def _fleet(given: dict[str, str]) -> dict[str, object]:
    """What must be the same in the whole fleet, Celery's workers included."""
    found: dict[str, object] = {}
    for option, name in (
        ("global_keyprefix", "prefix"), ("sep", "sep"), ("unacked_key", "unacked"),
        ("unacked_index_key", "unacked_index"), ("unacked_mutex_key", "unacked_mutex"),
    ):  # fmt: skip
        if option in given:
            found[name] = given[option]
    if "visibility_timeout" in given:
        found["visibility_timeout"] = seconds("visibility_timeout", given["visibility_timeout"], most=LONGEST)
    if "priority_steps" in given:
        found["steps"] = _steps(given["priority_steps"])
    order = given.get("queue_order", "weighted" if "queue_weights" in given else "strict")
    if order not in ORDERS:
        raise ConfigError(f"queue_order is {order!r}: choose {', '.join(ORDERS)}")
    found["order"] = order
    if "queue_weights" in given:
        found["weights"] = _weights(given["queue_weights"])
    elif order == "weighted":
        raise ConfigError("queue_order=weighted needs weights: add &queue_weights=mail:3,celery:1")
    return found


def _db(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"the database is {text!r}: it must be a number, as in redis://localhost:6379/0")
    return int(text)


def _steps(text: str) -> tuple[int, ...]:
    pieces = [piece.strip() for piece in text.strip("[]").split(",")]
    if not all(piece.isdecimal() for piece in pieces):
        raise ConfigError(f"priority_steps is {text!r}: give numbers from 0 to 9, such as 0,3,6,9")
    steps = tuple(sorted({int(piece) for piece in pieces}))
    if steps[0] != 0 or steps[-1] > 9:
        raise ConfigError(f"priority_steps is {text!r}: they begin with 0 and end with 9 at most")
    return steps


def _weights(text: str) -> tuple[tuple[str, float], ...]:
    weights = []
    for piece in text.split(","):
        queue, colon, weight = piece.rpartition(":")
        if not colon or not queue:
            raise ConfigError(f"queue_weights has {piece!r}: write queue:weight, such as mail:3,celery:1")
        weights.append((queue, seconds(f"the weight of {queue}", weight, most=LONGEST)))
    return tuple(weights)
