"""What nodes say to each other over Redis: kombu's channels for fanout exchanges, and its lists for replies.

Source: kombu.transport.redis (``_put_fanout``, ``_get_publish_topic``, ``_queue_bind``) and kombu.pidbox.
"""

from __future__ import annotations

import json
import logging
import os
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from contextlib import suppress

from greenq.errors import BrokerError, BrokerUnreachable
from greenq.radio import Post, Radio, ReplyBox
from greenq.redis.address import Address
from greenq.redis.client import Client
from greenq.redis.failures import Failure, Late
from greenq.redis.keys import Keys
from greenq.redis.link import Link
from greenq.redis.listening import CONNECT_WITHIN, PatternListener, literal
from greenq.redis.opening import open_link
from greenq.redis.resp import ReplyError
from greenq.serverfailures import Translation

__all__ = ["RedisRadio"]

log = logging.getLogger("greenq.control")

_translation = Translation(BrokerError, BrokerUnreachable)

HEARD_WITHIN = 3.0
"""Seconds that `listen` waits for the server's confirmation; later it comes by itself."""
LONGEST_POST = 16_000_000
"""Bytes; what is longer is not read."""
KEPT = 60_000
"""Milliseconds after which an answer is dropped that nobody has taken."""


class RedisRadio(Radio):
    """Says things over the broker's connection, and listens in a native thread over one of its own.

    Parameters:
        client: the broker's.
    """

    def __init__(self, address: Address, keys: Keys, client: Client) -> None:
        self._address = address
        self._keys = keys
        self._client = client
        self._prefix = f"{keys.prefix}/{address.db}."
        self._ear = PatternListener(address, "remote control", log)

    # ── saying ───────────────────────────────────────────────────────────────────────────────────────────

    def announce(self, posts: Sequence[Post], timeout: float) -> None:
        commands = [("PUBLISH", self._channel(post.exchange, post.key), write(post)) for post in posts]
        with _translation:
            self._client.all(commands, time.monotonic() + timeout)

    publish_events = announce

    def reply(self, posts: Sequence[Post], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        keys = self._keys
        asked = [("SISMEMBER", keys.binding(p.exchange), self._binding(p.exchange, p.key)) for p in posts]
        with _translation:
            there = self._client.all(asked, deadline, again=True)
            commands: list[tuple[str | bytes | int, ...]] = []
            for post, is_there in zip(posts, there, strict=True):
                if is_there:
                    name = keys.list_of(_box_name(post.exchange, post.key), 0)
                    commands += [("LPUSH", name, write(post)), ("PEXPIRE", name, KEPT)]
            self._client.all(commands, deadline)

    def _channel(self, exchange: str, key: str) -> str:
        return f"{self._prefix}{exchange}/{key}" if key else f"{self._prefix}{exchange}"

    def _binding(self, exchange: str, key: str) -> str:
        sep = self._keys.sep
        return f"{key}{sep}{sep}{_box_name(exchange, key)}"

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────

    def box(self, exchange: str, key: str, timeout: float) -> ReplyBox:
        box = RedisBox(self._address, self._client, self._keys, exchange, key)
        with _translation:
            box.open(self._binding(exchange, key), time.monotonic() + timeout)
        return box

    # ── what is remembered ───────────────────────────────────────────────────────────────────────────────

    remembers = True

    def remember(self, members: Sequence[str], seconds: float, most: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with _translation:
            now = self._now(deadline)
            parts: list[str | float] = []
            for member in members:
                parts += (now, member)
            commands = [
                ("ZADD", self._keys.revoked, *parts),
                ("ZREMRANGEBYSCORE", self._keys.revoked, "-inf", now - seconds),
                ("ZREMRANGEBYRANK", self._keys.revoked, 0, -most - 1),
                ("EXPIRE", self._keys.revoked, max(1, int(seconds))),
            ]
            self._client.all(commands, deadline, again=True)

    def remembered(self, seconds: float, timeout: float) -> list[str]:
        deadline = time.monotonic() + timeout
        with _translation:
            oldest = self._now(deadline) - seconds
            found = self._client.do(
                "ZRANGEBYSCORE", self._keys.revoked, oldest, "+inf", deadline=deadline, again=True
            )
        return [member.decode("utf-8", "replace") for member in found]

    def _now(self, deadline: float) -> float:
        """The server's clock, which is the same for all nodes."""
        seconds, micros = self._client.do("TIME", deadline=deadline, again=True)
        return int(seconds) + int(micros) / 1e6

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, exchange: str, node: str, heard: Callable[[Post], None]) -> None:
        self._hear_on(exchange, [literal(self._channel(exchange, ""))], heard)

    def follow(self, exchange: str, node: str, key: str, heard: Callable[[Post], None]) -> None:
        channel = literal(self._channel(exchange, key))
        self._hear_on(exchange, [channel, f"{channel}.*"], heard)

    def _hear_on(self, exchange: str, patterns: Sequence[str], heard: Callable[[Post], None]) -> None:
        start = self._channel(exchange, "")

        def take(channel: str, raw: bytes) -> None:
            post = read(raw)
            if post is not None:
                post.exchange = exchange
                post.key = channel.removeprefix(start).lstrip("/")
                heard(post)

        with suppress(Late):  # it goes on trying
            self._ear.listen(patterns, take, time.monotonic() + HEARD_WITHIN)

    def close(self) -> None:
        self._ear.close()


class RedisBox(ReplyBox):
    """A list of its own, which the exchange knows while the box is open."""

    def __init__(self, address: Address, client: Client, keys: Keys, exchange: str, key: str) -> None:
        self._address = address
        self._client = client
        self._table = keys.binding(exchange)
        self._list = keys.list_of(_box_name(exchange, key), 0)
        self._member = ""
        self._link: Link | None = None
        self._closed = False

    def open(self, member: str, deadline: float) -> None:
        """Let the exchange know of it."""
        self._member = member
        self._client.do("SADD", self._table, member, deadline=deadline, again=True)

    def next(self, timeout: float) -> Post | None:
        """Waits over a connection of its own, as the server keeps one that waits from all else."""
        deadline = time.monotonic() + timeout
        with _translation:
            while (left := deadline - time.monotonic()) > 0:
                if self._link is None:
                    self._link = open_link(self._address, deadline)
                reply = self._link.call(
                    [("BRPOP", self._list, f"{max(left, 0.01):.3f}")], deadline + CONNECT_WITHIN, sure=True
                )[0]
                if isinstance(reply, ReplyError):
                    raise Failure(f"answers cannot be read: {reply}")
                if reply is None:
                    return None
                post = read(reply[1])
                if post is not None:
                    return post
        return None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._link is not None:
            self._link.close()
        commands = [("SREM", self._table, self._member), ("DEL", self._list)]
        try:
            self._client.run(commands, time.monotonic() + CONNECT_WITHIN)
        except Failure as error:
            log.debug("a box for answers is left behind: %s", error)


def _box_name(exchange: str, key: str) -> str:
    """The queue in which kombu's clients wait for answers."""
    return f"{key}.{exchange}"


# ── kombu's envelope ─────────────────────────────────────────────────────────────────────────────────────


def write(post: Post) -> bytes:
    """A post as kombu carries it."""
    digits = os.urandom(16).hex()
    return json.dumps(
        {
            "body": b2a_base64(post.body, newline=False).decode("ascii"),
            "content-encoding": post.content_encoding,
            "content-type": post.content_type,
            "headers": post.headers,
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": post.exchange, "routing_key": post.key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            },
        }
    ).encode()


def read(raw: bytes) -> Post | None:
    """What kombu or greenq wrote; None, and a line in the log, if it is neither."""
    try:
        if len(raw) > LONGEST_POST:
            raise ValueError(f"it has {len(raw)} bytes")
        found = json.loads(raw)
        properties, headers = found["properties"], found["headers"]
        body: bytes = found["body"].encode()
        if properties.get("body_encoding") == "base64":
            body = a2b_base64(body)
        info = properties.get("delivery_info") or {}
        if not isinstance(headers, dict):
            raise TypeError("its headers are no mapping")
        return Post(
            str(info.get("exchange", "")), str(info.get("routing_key", "")), body, headers,
            str(found["content-type"]), str(found["content-encoding"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("something was said that is no message: %s", f"{error!r:.300}")
        return None
