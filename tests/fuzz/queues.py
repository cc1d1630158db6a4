"""The queues of real servers, seen from outside greenq: how messages get in, and what lies dead in them."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from greenq.amqp.address import parse as parse_amqp
from greenq.amqp.envelope import Unreadable as AmqpUnreadable
from greenq.amqp.envelope import due_of as due_of_content
from greenq.amqp.envelope import pack_header
from greenq.amqp.envelope import unpack as unpack_content
from greenq.amqp.failures import Failure
from greenq.amqp.publishing import Parcel, Publisher
from greenq.amqp.topology import Topology
from greenq.errors import PublishError
from greenq.message import Delivery
from greenq.redis.address import parse as parse_redis
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.envelope import due_of as due_of_text
from greenq.redis.keys import Keys
from greenq.sqlite.envelope import Unreadable as RowUnreadable
from greenq.sqlite.envelope import unpack as unpack_row
from tests.fuzz.pipeline import application
from tests.fuzz.readers import READERS

__all__ = ["QUEUES", "AmqpQueue", "Queue", "RedisQueue", "SqliteQueue"]

ODD = 20
"""Messages of each batch that RabbitMQ itself may be unable to read."""
ODDLY = b"odd "
"""How their bodies begin."""
PICKLE = b"python-serialize"
"""Spoiled pickles may do anything: they are left to the readers, which run with bounded memory."""


class Queue(ABC):
    """A server's queue ``celery``, seen from outside greenq.

    Parameters:
        url: the broker's address.

    Attributes:
        unsure: what names messages of which nobody knows whether the server took them.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.unsure: Counter[bytes] = Counter()

    @abstractmethod
    def make(self, rng: Random) -> None:
        """Make one spoiled message, if it is fit."""

    @abstractmethod
    def put(self) -> list[tuple[bytes, Delivery]]:
        """Put all that was made into the queue: what names each, and what a worker will get."""

    @abstractmethod
    def dead(self) -> Counter[bytes]:
        """What names the dead letters."""

    def parks(self, delivery: Delivery) -> bool:
        """Whether the broker lets it wait for its time before anybody has read it."""
        return False

    def close(self) -> None:
        """Let go of connections."""
        return


class RedisQueue(Queue):
    """A list in Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._address = parse_redis(url)
        self._keys = Keys(self._address)
        self._client = Client(self._address)
        self._made: list[tuple[bytes, Delivery]] = []

    def make(self, rng: Random) -> None:
        raw: bytes = READERS["redis"].make(rng)
        if PICKLE in raw:
            return
        try:
            delivery = Delivery(unpack("celery", raw), "celery", ())
        except Unreadable as problem:
            delivery = Delivery(None, "celery", (), 0, str(problem), raw)
        self._made.append((raw, delivery))

    def put(self) -> list[tuple[bytes, Delivery]]:
        made, self._made = self._made, []
        self._client.do("LPUSH", "celery", *(raw for raw, _ in made), deadline=time.monotonic() + 60)
        return made

    def dead(self) -> Counter[bytes]:
        found = self._client.do("HVALS", self._keys.raw_letters, deadline=time.monotonic() + 60)
        return Counter(found)

    def parks(self, delivery: Delivery) -> bool:
        return delivery.message is not None and (due_of_text(delivery.message) or 0.0) > time.time()

    def close(self) -> None:
        self._client.close()


class SqliteQueue(Queue):
    """Rows of the embedded database."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._path = url.removeprefix("sqlite:///")
        self._made: list[tuple[tuple[int, bytes, bytes | None], Delivery]] = []

    @staticmethod
    def _name(envelope: bytes, body: bytes | None) -> bytes:
        return envelope + b"|" + (body or b"")

    def make(self, rng: Random) -> None:
        row = READERS["sqlite"].make(rng)
        rank, envelope, body = row
        if PICKLE in envelope:
            return
        try:
            delivery = Delivery(unpack_row("celery", rank, envelope, body), "celery", ())
        except RowUnreadable as problem:
            delivery = Delivery(None, "celery", (), 0, str(problem), envelope)
        self._made.append((row, delivery))

    def put(self) -> list[tuple[bytes, Delivery]]:
        made, self._made = self._made, []
        with sqlite3.connect(self._path, timeout=60) as file:
            (queue,) = file.execute("SELECT id FROM queues WHERE name = 'celery'").fetchone()
            for (rank, envelope, body), _ in made:
                cursor = file.execute(
                    "INSERT INTO messages (queue, rank, envelope, body) VALUES (?, ?, ?, ?)",
                    (queue, rank, envelope, body),
                )
                id = cursor.lastrowid
                file.execute("INSERT INTO ready VALUES (?, ?, ?, ?, 0)", (queue, rank, id, id))
        file.close()
        return [(self._name(envelope, body), delivery) for (_, envelope, body), delivery in made]

    def dead(self) -> Counter[bytes]:
        file = sqlite3.connect(self._path, timeout=60)
        rows = file.execute("SELECT envelope, body FROM dead JOIN messages ON messages.id = message")
        found = Counter(self._name(envelope, body) for envelope, body in rows)
        file.close()
        return found


class AmqpQueue(Queue):
    """A queue of RabbitMQ's; what it refuses is not in it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._address = parse_amqp(url)
        self._publisher = Publisher(self._address, Topology(self._address), "fuzz")
        self._made: list[tuple[bytes, bytes, Delivery]] = []
        self._odd: list[tuple[bytes, bytes]] = []
        self._number = 0
        self._app = application(url, "memory://letters")

    def make(self, rng: Random) -> None:
        header, body = READERS["amqp"].make(rng)
        self._number += 1
        body += b" " * rng.randrange(5)  # most bodies are alike, and they are what names a message here
        if PICKLE in header or len(header) < 14:
            return
        header = header[:4] + len(body).to_bytes(8, "big") + header[12:]
        try:
            message, _, _ = unpack_content("celery", header, body)
            sound = pack_header(message) == header[12:] and not {"CC", "BCC"} & message.headers.keys()
        except (AmqpUnreadable, PublishError):
            sound = False
        if sound:
            message.properties.pop("expiration", None)
            header = header[:12] + pack_header(message)
            self._made.append((header, body, Delivery(message, "celery", ())))
        elif len(self._odd) < ODD:
            # Few are taken by the server, and it does not always say so: nobody can tell which will come.
            self._odd.append((header, ODDLY + b"%d" % self._number))

    def put(self) -> list[tuple[bytes, Delivery]]:
        made, self._made = self._made, []
        parcels = [Parcel("celery", "", "celery", header[12:], body) for header, body, _ in made]
        deadline = time.monotonic() + 60
        errors = self._publisher.send(self._publisher.line.session(deadline), parcels, deadline)
        assert errors == [None] * len(made), next(error for error in errors if error)
        odd, self._odd = self._odd, []
        for header, body in odd:
            self._put_odd(header, body)
        return [
            (self._name(delivery.message.headers, body), delivery)
            for _, body, delivery in made
            if delivery.message is not None
        ]

    @staticmethod
    def _name(headers: Mapping[str, Any], body: bytes) -> bytes:
        """Its id, too: what follows from others may have the same body."""
        if body.startswith(ODDLY):
            return body
        return f"{headers.get('id')!r:.200} ".encode("utf-8", "backslashreplace") + body

    def _put_odd(self, header: bytes, body: bytes) -> None:
        """Send one that the server may answer by ending the connection, or never."""
        publisher = Publisher(self._address, Topology(self._address), "odd")
        deadline = time.monotonic() + 0.5
        self.unsure[body] += 1
        with contextlib.suppress(Failure):
            session = publisher.line.session(time.monotonic() + 30)
            publisher.send(session, [Parcel("celery", "", "celery", header[12:], body)], deadline)
        publisher.line.close()

    def dead(self) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for letter in self._app.broker.dead("celery", 1_000_000):
            if letter.message is not None:
                found[self._name(letter.message.headers, letter.message.body)] += 1
            else:
                size = int.from_bytes(letter.raw[:4], "big")
                found[letter.raw[4 + size :]] += 1
        return found

    def parks(self, delivery: Delivery) -> bool:
        message = delivery.message
        eta = message is not None and message.headers.get("eta") is not None
        return eta and message is not None and (due_of_content(message) or 0.0) > time.time()

    def close(self) -> None:
        self._publisher.line.close()
        self._app.close()


QUEUES: dict[str, type[Queue]] = {"redis": RedisQueue, "sqlite": SqliteQueue, "amqp": AmqpQueue}
