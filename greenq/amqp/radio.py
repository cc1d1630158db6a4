"""What nodes say to each other over RabbitMQ, on channels of the connections that are there.

Source: kombu/pidbox.py (``Mailbox``), celery/events/event.py: how each exchange and queue is declared.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from greenq.amqp import methods
from greenq.amqp.channel import Channel
from greenq.amqp.connection import Connection
from greenq.amqp.envelope import Unreadable, pack_header, unpack
from greenq.amqp.failures import Closed, Failure, Unreachable
from greenq.amqp.line import Line
from greenq.errors import BrokerError, BrokerUnreachable
from greenq.message import Message
from greenq.radio import Post, Radio, ReplyBox
from greenq.serverfailures import Translation
from pools import native
from pools.bell import Bell

__all__ = ["AmqpRadio"]

log = logging.getLogger("greenq.control")

_translation = Translation(BrokerError, BrokerUnreachable)

CONNECT_WITHIN = 10.0
PAUSE_FIRST, PAUSE_MOST = 0.05, 2.0
"""Seconds between attempts to listen again: doubled each time, up to the most."""
HEARD_WITHIN = 3.0
"""Seconds that `listen` waits for the server's confirmation; later it comes by itself."""
LOOK_EVERY = 5.0
EXPIRES = {"x-expires": 60_000, "x-message-ttl": 300_000}
"""Of a queue of ours that has outlived us."""
MOST_HEARD = 10_000
"""Answers that wait to be read; what comes beyond that is dropped."""


@dataclass(frozen=True, slots=True)
class Ear:
    """One exchange that is listened to."""

    exchange: str
    kind: str
    queue: str
    key: str
    heard: Callable[[Post], None]


class AmqpRadio(Radio):
    """Says things on a channel of the publishing connection, and hears on one of the consuming connection.

    Parameters:
        speaking, listening: the broker's connections.
    """

    def __init__(self, speaking: Line, listening: Line) -> None:
        self._speaking = speaking
        self._listening = listening
        self._ears: list[Ear] = []
        self._mouth: tuple[Connection, Channel, set[str]] | None = None
        """Where it speaks now, and the exchanges that are there for sure."""
        self._attached = 0
        """How many ears hear."""
        self._lost = native.Signal()
        self._running = False
        self._closed = False

    # ── saying ───────────────────────────────────────────────────────────────────────────────────────────

    def announce(self, posts: Sequence[Post], timeout: float) -> None:
        self._say(posts, "fanout", timeout)

    def publish_events(self, posts: Sequence[Post], timeout: float) -> None:
        self._say(posts, "topic", timeout)

    def reply(self, posts: Sequence[Post], timeout: float) -> None:
        self._say(posts, "direct", timeout)

    def _say(self, posts: Sequence[Post], kind: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with _translation:
            exchanges = {post.exchange for post in posts}
            connection, channel = self._open(exchanges, kind, deadline)
            if connection.ease() is not None:
                raise Failure(f"RabbitMQ takes no messages now ({connection.blocked or 'it is slow'})")
            pieces: list[bytes] = []
            for post in posts:
                pieces.append(methods.publish(channel.number, post.exchange, post.key, mandatory=False))
                header = pack_header(_message(post))
                pieces += methods.content(channel.number, header, post.body, connection.frame_size)
            connection.send(channel, b"".join(pieces))

    def _open(self, exchanges: set[str], kind: str, deadline: float) -> tuple[Connection, Channel]:
        """The channel of now, and on it the exchanges."""
        connection = self._speaking.session(deadline).connection
        mouth = self._mouth
        if mouth is None or mouth[0] is not connection or mouth[1].lost is not None:
            channel, opening = connection.channel()
            connection.call(channel, opening, 1, deadline)
            mouth = self._mouth = connection, channel, set()
        _, channel, known = mouth
        missing = exchanges - known
        if missing:
            frames = [_declared(channel.number, exchange, kind) for exchange in sorted(missing)]
            connection.call(channel, b"".join(frames), len(frames), deadline)
            known.update(missing)
        return connection, channel

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────

    def box(self, exchange: str, key: str, timeout: float) -> ReplyBox:
        deadline = time.monotonic() + timeout
        with _translation:
            return AmqpBox(self._speaking.session(deadline).connection, exchange, key, deadline)

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, exchange: str, node: str, heard: Callable[[Post], None]) -> None:
        self._hear_on(Ear(exchange, "fanout", f"{node}.{uuid.uuid4()}.{exchange}", "", heard))

    def follow(self, exchange: str, node: str, key: str, heard: Callable[[Post], None]) -> None:
        self._hear_on(Ear(exchange, "topic", f"{exchange}.{uuid.uuid4()}", f"{key}.#", heard))

    def _hear_on(self, ear: Ear) -> None:
        self._ears.append(ear)
        if not self._running:
            self._running = True
            native.start(self._run, "greenq-radio")
        else:
            self._lost.set()  # it attaches all when it begins again
        deadline = time.monotonic() + HEARD_WITHIN
        while self._attached < len(self._ears) and time.monotonic() < deadline:
            native.Signal().wait(0.02)

    def _run(self) -> None:
        pause = PAUSE_FIRST
        while not self._closed:
            channel: Channel | None = None
            connection: Connection | None = None
            try:
                connection = self._listening.session(time.monotonic() + CONNECT_WITHIN).connection
                channel, opening = connection.channel()
                self._lost = lost = native.Signal()
                self._attach(connection, channel, opening, lost)
                pause = PAUSE_FIRST
                while not self._closed and channel.lost is None and not lost.is_set:
                    lost.wait(LOOK_EVERY)
            except Failure as error:
                if not self._closed:
                    log.warning("remote control hears nothing, next attempt in %.2g s: %s", pause, error)
                if isinstance(error, Closed):
                    return
            except Exception:
                log.exception("what listens for remote control goes on after an error of its own")
            finally:
                self._attached = 0
                if connection is not None and channel is not None:
                    connection.drop(channel)
            if not self._closed:
                native.Signal().wait(pause)
                pause = min(pause * 2, PAUSE_MOST)

    def _attach(self, connection: Connection, channel: Channel, opening: bytes, lost: native.Signal) -> None:
        """Declare, bind and consume for every ear, in one round trip."""
        ears = {f"ear-{number}": ear for number, ear in enumerate(self._ears)}
        channel.on_lost = lambda _: lost.set()

        def delivered(payload: bytes, header: bytes, body: bytes) -> None:
            tag, at = methods.read_short(payload, 4)
            ear = ears.get(tag)
            post = _post(payload, at, header, body)
            if ear is not None and post is not None:
                ear.heard(post)

        channel.on_deliver = delivered
        frames = [opening]
        for tag, ear in ears.items():
            frames += _heard(channel.number, ear.exchange, ear.kind, ear.queue, ear.key, tag)
        connection.call(channel, b"".join(frames), 1 + 4 * len(ears), time.monotonic() + CONNECT_WITHIN)
        self._attached = len(ears)

    def close(self) -> None:
        self._closed = True
        self._lost.set()
        mouth, self._mouth = self._mouth, None
        if mouth is not None:
            mouth[0].drop(mouth[1])


class AmqpBox(ReplyBox):
    """A queue of its own on a channel of its own."""

    def __init__(self, connection: Connection, exchange: str, key: str, deadline: float) -> None:
        self._connection = connection
        self._posts: deque[Post] = deque(maxlen=MOST_HEARD)
        self._bell = Bell()
        self._channel, opening = connection.channel()
        self._channel.on_deliver = self._delivered
        self._channel.on_lost = lambda _: self._bell.ring()
        frames = _heard(self._channel.number, exchange, "direct", f"{key}.{exchange}", key, "box")
        connection.call(self._channel, b"".join([opening, *frames]), 5, deadline)

    def _delivered(self, payload: bytes, header: bytes, body: bytes) -> None:
        post = _post(payload, methods.read_short(payload, 4)[1], header, body)
        if post is not None:
            self._posts.append(post)
            self._bell.ring()

    def next(self, timeout: float) -> Post | None:
        deadline = time.monotonic() + timeout
        while not self._posts:
            with _translation:
                if self._channel.lost is not None:
                    raise Unreachable(f"the answers are lost: {self._channel.lost}")
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._bell.wait(left)
        return self._posts.popleft()

    def close(self) -> None:
        self._connection.drop(self._channel)


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────


def _declared(channel: int, exchange: str, kind: str) -> bytes:
    return methods.declare_exchange(channel, exchange, kind, durable=kind == "topic")


def _heard(channel: int, exchange: str, kind: str, queue: str, key: str, tag: str) -> list[bytes]:
    """What makes a queue hear an exchange; four answers come."""
    return [
        _declared(channel, exchange, kind),
        methods.declare_queue(
            channel, queue, durable=False, exclusive=True, auto_delete=True, arguments=EXPIRES
        ),
        methods.bind_queue(channel, queue, exchange, key),
        methods.consume(channel, queue, tag, no_ack=True),
    ]


def _message(post: Post) -> Message:
    return Message(
        post.exchange, post.headers, post.body, post.content_type, post.content_encoding,
        {"delivery_mode": 1},
    )  # fmt: skip


def _post(payload: bytes, at: int, header: bytes, body: bytes) -> Post | None:
    """What was delivered; None, and a line in the log, if its properties can't be read."""
    exchange, at = methods.read_short(payload, at + 9)
    key, _ = methods.read_short(payload, at)
    try:
        message, _, _ = unpack(exchange, header, body)
    except Unreadable as error:
        log.warning("something was said that is no message: %s", error)
        return None
    headers = message.headers
    return Post(exchange, key, message.body, headers, message.content_type, message.content_encoding)
