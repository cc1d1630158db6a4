"""Where an adopted application has its messages and its results, as addresses of greenq's."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from greenq.errors import ConfigError
from greenq.results.table import load as load_store

__all__ = ["BRIDGE", "broker_of", "results_of"]

BRIDGE = "celery-backend"
"""The scheme of results that Celery's own backend keeps, where greenq has no store of the same format."""
_REDIS = (
    "redis", "rediss", "redis+socket", "unix", "socket", "sentinel", "valkey", "valkeys", "redis+cluster",
)  # fmt: skip
_AMQP = ("amqp", "amqps", "pyamqp", "pyamqps", "librabbitmq")
_TRANSPORT = (
    "global_keyprefix", "visibility_timeout", "sep", "unacked_key", "unacked_index_key",
    "unacked_mutex_key", "master_name",
)  # fmt: skip
"""Options of kombu's Redis transport that greenq has under the same names."""
_ORDERS = {"round_robin": "round_robin", "priority": "strict", "sorted": "strict"}
_TLS = {
    "ssl_cert_reqs": "ssl_cert_reqs", "cert_reqs": "ssl_cert_reqs",
    "ssl_ca_certs": "ssl_ca_certs", "ca_certs": "ssl_ca_certs",
    "ssl_certfile": "ssl_certfile", "certfile": "ssl_certfile",
    "ssl_keyfile": "ssl_keyfile", "keyfile": "ssl_keyfile",
    "ssl_check_hostname": "ssl_check_hostname",
}  # fmt: skip
"""What kombu's transports call the parts of TLS, and their names in our addresses."""
_VERIFY = {ssl.CERT_NONE: "none", ssl.CERT_OPTIONAL: "optional", ssl.CERT_REQUIRED: "required"}


# ── the broker ───────────────────────────────────────────────────────────────────────────────────────────


def broker_of(app: Any) -> str:
    """The address of the broker that an application's worker reads from."""
    conf = app.conf
    url = conf.broker_read_url or conf.broker_url or app.connection_for_read().as_uri(include_password=True)
    if isinstance(url, list | tuple):
        url = ";".join(url)
    options = dict(conf.broker_transport_options or {})
    scheme = _scheme(url)
    if scheme in _REDIS:
        given = _of_redis(options)
        given["queue_order"] = _ORDERS.get(str(options.get("queue_order_strategy")), "round_robin")
        return _with_options(*_secured(url, scheme, conf.broker_use_ssl, "rediss"), given)
    if scheme in _AMQP:
        given = {}
        if conf.broker_login_method:
            given["login_method"] = str(conf.broker_login_method)
        url = url.replace("librabbitmq://", "amqp://").replace("pyamqp://", "amqp://")
        return _with_options(*_secured(url, _scheme(url), conf.broker_use_ssl, "amqps"), given)
    plain = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
    return _with_options(url, {}, plain)


def _of_redis(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: options[name] for name in _TRANSPORT if options.get(name) is not None}
    if options.get("priority_steps"):
        given["priority_steps"] = ",".join(str(step) for step in options["priority_steps"])
    return given


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────


def results_of(app: Any) -> str | None:
    """The address of the results of an application; None if it keeps none."""
    conf = app.conf
    url = conf.result_backend
    if isinstance(url, type) or (url is not None and not isinstance(url, str)):
        return f"{BRIDGE}://"
    if not url or url.rstrip(":/") in ("disabled", "disabledbackend"):
        return None
    scheme = _scheme(url)
    if scheme in ("redis", "rediss", "sentinel") and url == scheme:
        url = _redis_by_parts(conf)
    options = dict(conf.result_backend_transport_options or {})
    if scheme in _REDIS:
        given = {name: options[name] for name in ("global_keyprefix", "master_name") if options.get(name)}
        return _with_options(*_secured(url, scheme, conf.redis_backend_use_ssl, "rediss"), given)
    if scheme == "rpc":
        broker = broker_of(app)
        if _scheme(broker) not in ("amqp", "amqps"):
            return f"{BRIDGE}://"
        secure = "s" if _scheme(broker) == "amqps" else ""
        return f"rpc{secure}://{broker.partition('://')[2]}"
    if scheme == "database" and conf.database_url:
        return f"db+{conf.database_url}"
    if scheme == "cache" and "+" not in url.partition("://")[0] and conf.cache_backend:
        url = f"cache+{conf.cache_backend}"
    return url if _has_store(url) else f"{BRIDGE}://"


def _has_store(url: str) -> bool:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme in ("s3", "file"):
        # Celery's keys and directories of these are not ours.
        return scheme == "file" and bool(separator)
    if scheme.startswith("cache+") and scheme != "cache+memcached":
        return False
    try:
        load_store(scheme)
    except ConfigError:
        return False
    return True


def _redis_by_parts(conf: Any) -> str:
    who = ""
    if conf.redis_password:
        who = f"{quote(conf.redis_username or '', safe='')}:{quote(conf.redis_password, safe='')}@"
    return f"redis://{who}{conf.redis_host or 'localhost'}:{conf.redis_port or 6379}/{conf.redis_db or 0}"


# ── the parts ────────────────────────────────────────────────────────────────────────────────────────────


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _secured(url: str, scheme: str, tls: Any, secure: str) -> tuple[str, dict[str, Any]]:
    """The address with the scheme that TLS has, and TLS's options, where it is asked for."""
    if not tls:
        return url, {}
    given = {}
    for name, value in tls.items() if isinstance(tls, Mapping) else ():
        if name in _TLS and value is not None:
            given[_TLS[name]] = _VERIFY.get(value, value) if _TLS[name] == "ssl_cert_reqs" else value
    if not given and secure == "amqps":
        given["ssl_cert_reqs"] = "none"  # as kombu does with broker_use_ssl=True
    plain = {"redis": "rediss", "valkey": "valkeys", "amqp": "amqps"}
    return url.replace(f"{scheme}://", f"{plain.get(scheme, scheme)}://"), given


def _with_options(url: str, *options: Mapping[str, Any]) -> str:
    """An address with these options, but for those that it has already."""
    address, _, query = url.partition("?")
    present = {part.partition("=")[0] for part in query.split("&")}
    given = {name: value for one in options for name, value in one.items() if name not in present}
    return "?".join(filter(None, (address, "&".join(filter(None, (query, urlencode(given)))))))
