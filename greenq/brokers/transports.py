"""What greenq knows of kombu's transports: their addresses, their packages, and what they can promise."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import yaml

from greenq.brokers.base import Guarantees
from greenq.brokers.drivers import patience
from greenq.errors import ConfigError

__all__ = ["LARGEST", "LONGEST_NAME", "Address", "parse", "promises"]

POLLING = 1.0
"""Seconds between looks for messages, at most; ``polling_interval`` in the address changes it."""

KEEPING = frozenset({
    "amqp", "amqps", "pyamqp", "librabbitmq", "redis", "rediss", "sentinel", "sqs", "azureservicebus",
    "azurestoragequeues", "gcpubsub", "pgmq", "qpid", "confluentkafka", "kafka",
})  # fmt: skip
"""Transports whose broker keeps a message until it is acknowledged; all others hand it over for good."""

OWN_QUERY = frozenset({
    "sqla", "sqlalchemy", "mongodb", "redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp", "librabbitmq",
})  # fmt: skip
"""Transports that read what follows the question mark themselves."""

PACKAGES = {
    "sqla": ("sqlalchemy", "kombu[sqlalchemy]"),
    "sqlalchemy": ("sqlalchemy", "kombu[sqlalchemy]"),
    "sqs": ("boto3", "kombu[sqs]"),
    "zookeeper": ("kazoo", "kombu[zookeeper]"),
    "etcd": ("etcd", "python-etcd"),
    "consul": ("consul", "kombu[consul]"),
    "mongodb": ("pymongo", "kombu[mongodb]"),
    "redis": ("redis", "kombu[redis]"),
    "rediss": ("redis", "kombu[redis]"),
    "sentinel": ("redis", "kombu[redis]"),
    "confluentkafka": ("confluent_kafka", "kombu[confluentkafka]"),
    "kafka": ("confluent_kafka", "kombu[confluentkafka]"),
    "azurestoragequeues": ("azure.storage.queue", "kombu[azurestoragequeues]"),
    "azureservicebus": ("azure.servicebus", "kombu[azureservicebus]"),
    "gcpubsub": ("google.cloud.pubsub_v1", "kombu[gcpubsub]"),
    "pgmq": ("pgmq", "kombu[pgmq]"),
    "qpid": ("qpid.messaging", "kombu[qpid]"),
    "pyro": ("Pyro4", "kombu[pyro]"),
}
"""Transport → the module it imports, and what to install for it."""

FIRST_OF_TEN = {"mongodb": 9, "zookeeper": 9}
"""Transports with ten priorities, and which of them runs first."""
LISTING = frozenset({"sqla", "sqlalchemy", "memory", "filesystem", "sqs", "zookeeper"})
"""Transports that can tell which queues there are."""
STACKS = frozenset({"etcd"})
"""Transports that hand out the newest message first."""
UNORDERED = STACKS | frozenset({"filesystem", "sqs", "azureservicebus", "azurestoragequeues", "gcpubsub"})


LARGEST = 500_000_000
"""Bytes of a body, wherever it goes; what a transport takes is less with most."""
LONGEST_NAME = 150
"""Bytes of a queue's name: kombu's tables have 200, and the names of parking queues are longer."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where kombu finds a broker.

    Parameters:
        transport: kombu's name of it.
        url: as kombu takes it; may hold a password.
        options: kombu's transport options.
        polling: seconds between looks for messages, at most.
    """

    transport: str
    url: str = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    polling: float = POLLING

    @property
    def is_stack(self) -> bool:
        """Whether the newest message of a queue comes first, so that what is put back comes again at once."""
        return self.transport in STACKS

    @property
    def lists(self) -> bool:
        """Whether the transport can tell which queues there are."""
        return self.transport in LISTING

    @property
    def keeps(self) -> bool:
        """Whether the broker keeps a message until it is acknowledged."""
        return self.transport in KEEPING


def parse(url: str) -> Address:
    """Read ``kombu+TRANSPORT://…`` or ``TRANSPORT://…``.

    What follows the question mark are the transport's options, as YAML values (``visibility_timeout=3600``),
    except where the transport reads it itself. ``filesystem:///var/spool/shop`` names one folder for all.

    Raises:
        ConfigError: kombu has no such transport, its package is missing, or the address is incomplete.
    """
    text = url[len("kombu+") :] if url[:6].lower() == "kombu+" else url
    scheme, _, rest = text.partition("://")
    transport = scheme.partition("+")[0].lower()
    options: dict[str, Any] = {}
    if transport not in OWN_QUERY:
        rest, _, query = rest.partition("?")
        options = {name: _value(value) for name, value in parse_qsl(query, keep_blank_values=True)}
    polling = options.pop("polling_interval", POLLING)
    if not isinstance(polling, (int, float)) or not 0 < polling <= 3600:
        raise ConfigError(f"polling_interval is {polling!r:.40}: give seconds above 0")
    if transport == "filesystem":
        rest = _folders(rest, options)
    elif transport in ("sqla", "sqlalchemy"):
        options.update(pool_pre_ping=True)
        if "+sqlite" in scheme.lower():
            options.update(connect_args={"timeout": 30.0})
        else:
            driver = scheme.rpartition("+")[2]
            patient = patience(driver.lower(), dict(parse_qsl(rest.partition("?")[2])))
            options.update({"connect_args": patient} if patient else {})
    elif transport == "memory":
        rest = rest.strip("/") or "localhost/"
    elif transport in ("redis", "rediss"):
        options = {"socket_timeout": 20.0, "socket_connect_timeout": 5.0, "socket_keepalive": True, **options}
    elif transport == "sqs":
        options = {"wait_time_seconds": 0, **options}
    _check_installed(transport)
    tail = scheme[len(transport) :]
    return Address(transport, f"{transport}{tail}://{rest}", options, float(polling))


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _folders(rest: str, options: dict[str, Any]) -> str:
    """Let a path be all of kombu's folders."""
    path = unquote(rest.removeprefix("localhost"))
    if path.strip("/"):
        options.setdefault("data_folder_in", path)
        options.setdefault("data_folder_out", path)
        options.setdefault("control_folder", os.path.join(path, "control"))
    elif not {"data_folder_in", "data_folder_out"} <= set(options):
        raise ConfigError(
            "filesystem:// names no folder: write filesystem:///var/spool/shop, "
            "or give both data_folder_in and data_folder_out"
        )
    return "localhost/"


def _check_installed(transport: str) -> None:
    from kombu.transport import TRANSPORT_ALIASES

    known = {name.lower() for name in TRANSPORT_ALIASES}
    if transport not in known:
        raise ConfigError(f"kombu has no transport {transport!r:.40}: there is {', '.join(sorted(known))}")
    module, package = PACKAGES.get(transport, ("kombu", "kombu"))
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"the {transport} broker needs the package {module}, which cannot be imported ({error}): "
            f'pip install "{package}"'
        ) from error


def promises(address: Address) -> Guarantees:
    """What greenq can promise on a transport."""
    limits = [
        "kombu has no leases: greenq cannot tell that a process died, and counts no deliveries.",
        "Waiting means looking: every 20 ms when busy, every second when idle (polling_interval).",
        "Messages due within 10 s are held by the process that took them.",
    ]
    if address.keeps:
        limits.append("What a killed process held comes back when the broker says so, and may run twice.")
    else:
        limits.append("What a killed process held is lost, as it is with Celery on this transport.")
    if address.transport in UNORDERED:
        limits.append(
            "The newest message comes first." if address.is_stack
            else "Order is not kept among messages that were sent at about the same time."
        )  # fmt: skip
    if address.transport == "memory":
        limits.append("Everything is lost when the process ends.")
    return Guarantees(
        survives_process=address.transport != "memory",
        shared=address.transport != "memory",
        exact_fetch=True,
        priorities=10 if address.transport in FIRST_OF_TEN else 1,
        limits=tuple(limits),
        urgent=FIRST_OF_TEN.get(address.transport, 9),
        ordered=address.transport not in UNORDERED,
        leases=False,
        returns_in_front=False,
        longest_hold=float(address.options.get("visibility_timeout", 1800.0))
        if address.transport == "sqs"
        else None,
        lists_queues=address.lists,
    )
