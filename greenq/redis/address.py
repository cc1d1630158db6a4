"""Read the address of a Redis server: hosts, database, user, TLS, Sentinel, what a fleet agrees on."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from greenq.config.masking import mask
from greenq.errors import ConfigError

__all__ = ["Address", "Tls", "parse"]

PORT, SENTINEL_PORT = 6379, 26379
PLAIN = ("redis", "valkey")
SECURE = ("rediss", "valkeys")
UNIX = ("redis+socket", "valkey+socket", "unix", "socket")
SENTINEL = ("sentinel",)
CLUSTER = ("redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster")
SEVERAL = SENTINEL + CLUSTER
TAG = "{greenq}."

TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
SENTINEL_OPTIONS = ("master_name", "sentinel_username", "sentinel_password", "ssl")
OPTIONS = (
    "db", "virtual_host", "global_keyprefix", "visibility_timeout", "priority_steps", "sep",
    "unacked_key", "unacked_index_key", "unacked_mutex_key", "queue_order", "queue_weights",
)  # fmt: skip
ORDERS = ("strict", "round_robin", "weighted")


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
    first, last = _split(parts[0]), _split(parts[-1])
    scheme = first.scheme
    if len(parts) > 1 and scheme not in SEVERAL:
        raise ConfigError("several addresses make sense with sentinel:// and clusters only: name one server")
    given = _options(last, scheme)
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
    tls = _tls(given) if scheme in SECURE else None
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


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"the address {mask(url)} cannot be read: {error}") from None
    if parts.fragment:
        raise ConfigError("the address has a #: write %23 if the password or a name holds one")
    return parts


def _host(parts: SplitResult, port: int) -> tuple[str, int]:
    return unquote(parts.hostname or "localhost"), parts.port or port


def _options(parts: SplitResult, scheme: str) -> dict[str, str]:
    known = [*OPTIONS]
    if scheme in SECURE or scheme in SENTINEL or scheme.endswith("s+cluster"):
        known += TLS_OPTIONS
    if scheme in SENTINEL:
        known += SENTINEL_OPTIONS
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in known:
            if name in TLS_OPTIONS:
                raise ConfigError(f"{name} is for TLS: write rediss:// instead of {scheme}://")
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"a {scheme}:// address has no option {mask(name)}: {hint}")
    return given


def _sentinel(parts: list[str], given: dict[str, str], db: int, common: dict[str, Any]) -> Address:
    if not given.get("master_name"):
        raise ConfigError(
            "a sentinel:// address needs the master's name: add ?master_name=NAME, as in sentinel.conf"
        )
    secure = given.get("ssl", "").lower() in ("1", "true", "yes") or any(key in given for key in TLS_OPTIONS)
    hosts = [_host(_split(part), SENTINEL_PORT) for part in parts]
    return Address(
        hosts=tuple(dict.fromkeys(hosts)),
        db=db,
        master=given["master_name"],
        sentinel_user=given.get("sentinel_username"),
        sentinel_password=given.get("sentinel_password"),
        tls=_tls(given) if secure else None,
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
    tls = _tls(given) if parts[0].startswith(("rediss", "valkeys")) else None
    hosts = dict.fromkeys(_host(_split(part), PORT) for part in parts)
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
        found["visibility_timeout"] = _seconds("visibility_timeout", given["visibility_timeout"])
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


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e10:
        raise ConfigError(f"{name} is {text!r}: give seconds above 0")
    return value


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
        weights.append((queue, _seconds(f"the weight of {queue}", weight)))
    return tuple(weights)


def _tls(given: dict[str, str]) -> Tls:
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
