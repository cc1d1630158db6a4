"""Servers that answer nonsense: a client must say so, or take what makes sense, and never hang."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from functools import cache
from random import Random
from struct import unpack_from

from greenq.amqp import methods
from greenq.amqp.tables import short
from greenq.brokers.amqp import AmqpBroker
from greenq.brokers.redis import RedisBroker
from greenq.errors import GreenqError
from greenq.redis.fetching import Fetcher
from greenq.results.redis import RedisStore
from tests.fuzz import samples
from tests.fuzz.mutations import spoil_bytes
from tests.fuzz.pipeline import ends_once
from tests.fuzz.servers import SPOKEN, frames

__all__ = ["amqp_session", "bounded", "judge_amqp", "judge_redis", "redis_session"]

PATIENCE = 0.3
"""Seconds that a client waits for an answer."""
LONG_LIST = re.compile(rb"([*~>%|])([0-9]{8,})")
QOS, DECLARE, GET = 0x3C000A, 0x32000A, 0x3C0046


class Liar:
    """Answers each client as `answers` tells it.

    Attributes:
        make: makes, for each client, what gives the answer to what it sent.
    """

    def __init__(self) -> None:
        self.make: Callable[[], Callable[[bytes], bytes]] = lambda: lambda _: b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(client, self.make()), daemon=True).start()

    def _talk(self, client: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        with client:
            client.settimeout(10 * PATIENCE)
            try:
                while data := client.recv(65536):
                    client.sendall(answer(data))
            except OSError:
                return


@cache
def _liar() -> Liar:
    return Liar()


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def bounded(replies: bytes) -> bytes:
    """Without lists of millions: hiredis makes them as long as they are announced, whatever is set."""
    return LONG_LIST.sub(rb"\g<1>1234567", replies)


def redis_session(rng: Random) -> bytes:
    """What Redis says to somebody who fetches, or asks for a result; spoiled."""
    if rng.random() < 0.3:
        replies = [SPOKEN[0], b"+OK\r\n", b"*1\r\n" + _bulk(rng.choice(samples.records()))]
    else:
        found = b"*4\r\n:-1\r\n:0\r\n_\r\n*1\r\n" + _bulk(rng.choice(samples.envelopes()))
        replies = [SPOKEN[0], b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b":0\r\n", found]
    at = rng.randrange(len(replies))
    replies[at] = spoil_bytes(rng, replies[at], SPOKEN)
    return bounded(b"".join(replies))


def judge_redis(says: bytes) -> str:
    """Fetch from, and ask, a server that says this to whoever says anything."""
    liar = _liar()
    liar.make = lambda: lambda _: says
    url = f"redis://127.0.0.1:{liar.port}"
    ends = []
    begun = time.monotonic()
    with RedisBroker(url, PATIENCE) as broker, RedisStore(url, lambda _: b"", samples.record_of) as store:
        broker._fetcher = Fetcher(broker.address, broker.client, broker.keys, "p", 60.0, PATIENCE)
        try:
            ends += [ends_once(one, "redis") for one in broker.fetch(["celery"], 10, 0.0)]
        except GreenqError as error:
            ends.append(type(error).__name__)
        try:
            store.get(["1"], PATIENCE)
        except GreenqError as error:
            ends.append(type(error).__name__)
    assert time.monotonic() - begun < 10 * PATIENCE, "it took too long"
    return " ".join(sorted(set(ends))) or "nothing"


def amqp_session(rng: Random) -> tuple[dict[int, bytes], int, bytes]:
    """What RabbitMQ answers to each method, and which of its answers is spoiled, and how."""
    some = frames()
    declared = methods.frame(1, methods.QUEUE_DECLARE_OK, short("celery", "x") + b"\0\0\0\3\0\0\0\0")
    answers = {
        methods.START_OK: some[1],
        methods.OPEN: some[2],
        methods.CHANNEL_OPEN: some[3],
        QOS: some[4],
        DECLARE: declared,
        GET: some[7],
        methods.CHANNEL_CLOSE: methods.frame(1, methods.CHANNEL_CLOSE_OK),
        methods.CLOSE: methods.frame(0, methods.CLOSE_OK),
    }
    which = rng.choice([0, *answers])
    return answers, which, spoil_bytes(rng, answers.get(which, some[0]), some)


def _answering(answers: dict[int, bytes], which: int, spoiled: bytes) -> Callable[[bytes], bytes]:
    """Answers by the methods that come, for their channels."""

    def answer(data: bytes) -> bytes:
        if data.startswith(b"AMQP"):
            return frames()[0] if which else spoiled
        told = []
        while len(data) >= 12:
            kind, channel, size = unpack_from(">BHI", data)
            (method,) = unpack_from(">I", data, 7)
            data = data[8 + size :]
            if kind == 1 and method == which:
                told.append(spoiled)
            elif kind == 1 and method in answers:
                right = answers[method]
                told.append(right if not channel else _on(channel, right))
        return b"".join(told)

    return answer


def _on(channel: int, answer: bytes) -> bytes:
    """The same frames for another channel."""
    found = b""
    while answer:
        (size,) = unpack_from(">I", answer, 3)
        found += answer[:1] + channel.to_bytes(2, "big") + answer[3 : 8 + size]
        answer = answer[8 + size :]
    return found


def judge_amqp(session: tuple[dict[int, bytes], int, bytes]) -> str:
    """Fetch from a server that answers like this."""
    liar = _liar()
    liar.make = lambda: _answering(*session)
    begun = time.monotonic()
    try:
        with AmqpBroker(f"amqp://127.0.0.1:{liar.port}?connect_timeout={PATIENCE}", PATIENCE) as broker:
            broker._process = "p"
            found = broker.fetch(["celery"], 1, 0.0)
            end = " ".join(sorted({ends_once(one, "amqp") for one in found})) or "nothing"
    except GreenqError as error:
        end = type(error).__name__
    assert time.monotonic() - begun < 10 * PATIENCE, "it took too long"
    return end
