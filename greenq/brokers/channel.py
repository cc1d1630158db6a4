"""All that greenq uses of kombu's transports: one connection, seen as named queues that bytes go through.

Nothing else in greenq knows how kombu connects, declares, numbers deliveries or gives them back. Every call
blocks, and belongs to the thread that owns the connection.

Source: kombu.connection, kombu.transport.virtual.base, celery.app.amqp (``send_task_message``).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from dataclasses import dataclass
from queue import Empty
from typing import Any

from greenq.brokers.folder import mend
from greenq.brokers.transports import Address
from greenq.config.masking import mask
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishError
from greenq.message import Message

__all__ = ["Channel", "Found"]

DECLARING = 4
"""Attempts at making a queue."""
CLOUDS = frozenset({"sqs", "azureservicebus", "azurestoragequeues", "gcpubsub"})
"""Transports without a connection: each call is a request of its own."""
COUNTED = CLOUDS | {"etcd"}
"""Transports whose own purge also drops what processes hold, or doesn't know how much it dropped."""
LISTING = 30.0
"""Seconds between two listings of SQS's queues."""


@dataclass(slots=True)
class Found:
    """What was taken from a queue.

    Parameters:
        message: None if kombu's envelope cannot be read; `problem` then says why.
        tag: the broker's name of the delivery.
        era: which connection it came over: a tag means nothing to another one.
        raw: the envelope, if it cannot be read.
    """

    message: Message | None
    tag: Any
    era: int
    problem: str | None = None
    raw: bytes = b""


_OWN = frozenset({"delivery_mode", "delivery_info", "priority", "body_encoding", "delivery_tag"})
"""Properties that a transport sets: they say how a message travelled, not what it is."""


class Channel:
    """One connection through kombu, made when it is first needed and again after it was dropped."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.era = 0
        self._connection: Any = None
        self._channel: Any = None
        self._declared: set[str] = set()
        self._connection_errors: tuple[type[Exception], ...] = ()
        self._listed = -LISTING
        self._decompresses = False

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Any:
        """Connect, unless that is done; kombu's channel."""
        if self._channel is None:
            from kombu.connection import Connection

            connect: Any = Connection

            options = self.address.options
            for name in ("data_folder_in", "data_folder_out", "control_folder", "processed_folder"):
                if name in options:
                    os.makedirs(options[name], exist_ok=True)
            self._connection = connect(self.address.url, transport_options=dict(options))
            self._connection_errors = tuple(self._connection.connection_errors)
            self._channel = self._connection.channel()
            self._leave_compressed(self._channel)
            if self.address.transport == "filesystem":
                mend(self._channel)
            self.era += 1
            self._listed = -LISTING
        return self._channel

    def _leave_compressed(self, channel: Any) -> None:
        """Keep kombu from decompressing bodies, which it does without a bound."""
        from kombu.transport import virtual

        self._decompresses = not isinstance(channel, virtual.Channel)
        if self._decompresses:
            return
        kind: Any = channel.Message

        class Compressed(kind):  # type: ignore[misc]
            def __init__(self, payload: dict[str, Any], channel: Any = None, **more: Any) -> None:
                headers = payload.get("headers") or {}
                hidden = {name: value for name, value in headers.items() if name != "compression"}
                super().__init__({**payload, "headers": hidden}, channel=channel, **more)
                self.headers = headers

            def serializable(self) -> dict[str, Any]:
                return {**super().serializable(), "headers": dict(self.headers)}

        channel.Message = Compressed

    def close(self) -> None:
        """Let go of the connection; what it held unacknowledged goes as the broker has it."""
        connection, channel = self._connection, self._channel
        self._connection = self._channel = None
        self._declared.clear()
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.release()
        client = getattr(channel, "_client", None)
        if self.address.transport == "zookeeper" and client is not None:
            # kombu forgets it, and it would go on for ever.
            with contextlib.suppress(Exception):
                client.stop()
                client.close()

    def forget(self) -> None:
        """Leave the connection alone: it belongs to the process that forked this one."""
        channel, self._connection, self._channel = self._channel, None, None
        self._declared.clear()
        engines = getattr(type(channel), "_engines", None)
        if engines:
            for engine, _ in engines.values():
                engine.dispose(close=False)
            engines.clear()

    def failed(self, error: Exception) -> GreenqError:
        """Say in greenq's terms what kombu or the library under it raised; a broken connection is dropped."""
        if isinstance(error, GreenqError):
            return error
        where = mask(self.address.url.partition("?")[0])
        text = " ".join(str(error).split())[:300] or type(error).__name__
        lost = isinstance(error, self._lost())
        if lost or self.address.transport not in CLOUDS:
            # What is no connection but requests goes on: dropping it would give back all that runs here.
            self.close()
        if lost:
            return BrokerUnreachable(
                f"the broker at {where} cannot be reached: {text}; check its address and whether it runs"
            )
        return BrokerError(f"the broker at {where} failed: {type(error).__name__}: {text}")

    def _lost(self) -> tuple[type[Exception], ...]:
        from kombu.exceptions import OperationalError

        return (OSError, OperationalError, *self._connection_errors)

    # ── queues ───────────────────────────────────────────────────────────────────────────────────────────

    def declare(self, queue: str, ours: bool = False) -> None:
        """Make a queue as Celery makes it, or one of greenq's own that Celery has nothing to do with."""
        if queue in self._declared:
            return
        for attempt in range(DECLARING):
            try:
                self._declare(queue, ours)
                break
            except Exception:
                # Processes that make the same queue, or its table, at once are in each other's way just once.
                self.close()
                if attempt == DECLARING - 1:
                    raise
                time.sleep(0.05 * 2**attempt * random.random())
        self._declared.add(queue)

    def _declare(self, queue: str, ours: bool) -> None:
        channel = self.open()
        channel.queue_declare(queue=queue, durable=True, auto_delete=False)
        if not ours:
            from kombu import entity
            from kombu.exceptions import ChannelError

            kombu: Any = entity
            exchange = kombu.Exchange(queue, type="direct", channel=channel)
            # Some transports refuse exchanges of names that they take for queues; tasks need the queue only.
            with contextlib.suppress(ChannelError):
                exchange.declare()
                kombu.Queue(queue, exchange, routing_key=queue, channel=channel).queue_bind()

    @property
    def lists(self) -> bool:
        """Whether the transport can tell which queues there are."""
        return self.address.lists

    def names(self) -> list[str]:
        """The queues there are, as far as the transport can tell; those of Celery's own talk left out."""
        channel = self.open()
        found: set[str] = set(self._declared)
        if self.address.transport in ("sqla", "sqlalchemy"):
            found.update(name for (name,) in channel.session.query(channel.queue_cls.name))
            channel.session.commit()
        elif self.address.transport == "memory":
            found.update(type(channel).queues)
        elif self.address.transport == "filesystem":
            for name in os.listdir(channel.data_folder_in):
                if name.endswith(".msg"):
                    found.add(name.partition(".")[2].removesuffix(".msg"))
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(channel.control_folder):
                    found.update(row.queue for row in channel.get_table(name.removesuffix(".exchange")))
        elif self.address.transport == "zookeeper":
            if channel.client.exists(channel._vhost) is not None:
                found.update(channel.client.get_children(channel._vhost))
        elif self.address.transport == "sqs":
            found.update(self._names_on_sqs(channel))
        return sorted(name for name in found if not name.endswith(".pidbox") and "celeryev" not in name)

    def _names_on_sqs(self, channel: Any) -> set[str]:
        """SQS's own names, where this process knows no other; each listing costs, so it is kept a while."""
        prefix = channel.entity_name(channel.queue_name_prefix)
        if time.monotonic() >= self._listed + LISTING and not channel.predefined_queues:
            channel._update_queue_cache(prefix)
            self._listed = time.monotonic()
        ours = {channel.canonical_queue_name(name) for name in self._declared}
        return {
            name.removeprefix(prefix)
            for name in channel._queue_cache
            if name.startswith(prefix) and name not in ours
        }

    def size(self, queue: str) -> int:
        """How many messages wait in a queue."""
        from kombu.exceptions import ChannelError

        try:
            return int(self.open().queue_declare(queue=queue, passive=True).message_count)
        except ChannelError:
            return 0

    def purge(self, queue: str) -> int:
        """Drop what waits in a queue; how many it was."""
        if self.address.transport not in COUNTED:
            return int(self.open().queue_purge(queue) or 0)
        dropped = 0
        while (found := self.pull(queue)) is not None:
            self.ack(found)
            dropped += 1
        return dropped

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────

    def put(self, queue: str, message: Message, extra: dict[str, Any] | None = None) -> None:
        """Send a message to a queue, in Celery's way: over the default exchange, by the queue's name.

        Parameters:
            extra: further headers.
        """
        channel = self.open()
        headers = plain({**message.headers, **(extra or {})})
        properties = {**plain(message.properties), "delivery_mode": 2}
        prepared = channel.prepare_message(
            message.body,
            message.priority,
            message.content_type,
            message.content_encoding,
            headers,
            properties,
        )
        channel.basic_publish(prepared, exchange="", routing_key=queue)

    def put_raw(self, queue: str, raw: bytes) -> None:
        """Put back an envelope that could not be read, as it came."""
        self.open()._put(queue, json.loads(raw))

    def pull(self, queue: str) -> Found | None:
        """Take the next message of a queue, or None if there is none."""
        channel = self.open()
        if self.address.keeps:
            message = channel.basic_get(queue, no_ack=False)
            return None if message is None else self._read(message)
        try:
            payload = channel._get(queue)
        except Empty:
            return None
        try:
            return self._read(channel.Message(payload, channel=channel))
        except Exception as error:
            problem = f"kombu's envelope cannot be read ({type(error).__name__}: {error})"[:300]
            return Found(None, None, self.era, problem, json.dumps(payload, default=repr).encode())

    def _read(self, found: Any) -> Found:
        body = found.body
        if not isinstance(body, bytes):
            body = bytes(body) if isinstance(body, (bytearray, memoryview)) else str(body or "").encode()
        priority = found.properties.get("priority")
        if self._decompresses:
            found.headers.pop("compression", None)
        message = Message(
            found.delivery_info.get("routing_key") or "",
            revived(found.headers),
            body,
            found.content_type,
            found.content_encoding,
            {name: value for name, value in found.properties.items() if name not in _OWN},
            min(max(priority, 0), 9) if type(priority) is int else 0,
        )
        return Found(message, found.delivery_tag, self.era)

    def is_ours(self, found: Found) -> bool:
        """Whether it can still be settled: a broker that keeps messages gave it back with the connection."""
        return not self.address.keeps or (found.era == self.era and self._channel is not None)

    def ack(self, found: Found) -> None:
        """Have the broker forget it."""
        if self.address.keeps:
            self.open().basic_ack(found.tag)

    def requeue(self, queue: str, found: Found) -> None:
        """Give it back to its queue."""
        if self.address.keeps:
            self.open().basic_reject(found.tag, requeue=True)
        elif found.message is None:
            self.put_raw(queue, found.raw)
        else:
            self.put(queue, found.message)


_MARKER = "__type__"


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Copy headers as plain JSON values, what else kombu's extended form can carry included.

    Raises:
        PublishError: they hold what it cannot.
    """
    from kombu.utils.json import JSONEncoder

    try:
        copied: dict[str, Any] = json.loads(json.dumps(value, cls=JSONEncoder))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise PublishError(
            f"the message cannot be sent: its headers hold what json can't carry ({error}): "
            "use plain types; nothing was sent"
        ) from error
    return copied


def revived(headers: Any) -> dict[str, Any]:
    """Undo `plain`, where the transport itself has not."""
    if not isinstance(headers, dict):
        raise TypeError("its headers are no mapping")
    if _MARKER not in repr(headers):
        return headers
    from kombu.utils.json import object_hook

    copied = json.loads(json.dumps(headers), object_hook=object_hook)
    if not isinstance(copied, dict):
        raise TypeError("its headers are no mapping")
    return copied
