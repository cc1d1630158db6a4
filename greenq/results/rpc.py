"""Results as replies over RabbitMQ, as Celery's ``rpc://`` sends them: to the process that made the call."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from greenq.amqp import methods
from greenq.amqp.address import parse
from greenq.amqp.envelope import Unreadable, pack_header, read_header
from greenq.amqp.failures import Failure
from greenq.amqp.line import Session
from greenq.amqp.publishing import Parcel, Publisher
from greenq.amqp.tables import Unfit, short
from greenq.amqp.topology import Topology
from greenq.errors import MessageError, PublishError, ResultStoreError
from greenq.message import READY_STATES, Message, Result
from greenq.results.base import ResultStore
from greenq.results.replies import Replies, Reply
from greenq.results.waiting import Waiters
from greenq.serverfailures import Translation
from pools import native

__all__ = ["RpcStore"]

log = logging.getLogger("greenq.results")

QUEUE_EXPIRES = 600.0
"""Seconds after which the server drops the replies of a process that is gone."""


_translation = Translation(ResultStoreError)


class RpcStore(ResultStore):
    """Sends each result to the queue that its call named, and keeps the replies to this process's calls.

    Only the process that made a call gets its result, and nobody can ask for it later.

    Parameters:
        url: as the broker's, with the scheme ``rpc`` (``rpcs`` for TLS).
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.
    """

    def __init__(
        self,
        url: str,
        encode: Callable[[dict[str, Any]], bytes],
        decode: Callable[[bytes], dict[str, Any]],
        timeout: float = 30.0,
    ) -> None:
        super().__init__(encode, decode)
        address = parse(url)
        self._timeout = timeout
        self._publisher = Publisher(address, Topology(address), "results", self._prepared)
        self._queue = f"greenq.replies.{os.getpid()}.{os.urandom(8).hex()}"
        self._lock = native.Lock()
        self._replies = Replies()
        self._waiters = Waiters()
        self._listening = 0
        self._closed = False

    # ── sending replies ──────────────────────────────────────────────────────────────────────────────────

    def put(self, results: Sequence[Result], timeout: float) -> None:
        """Send the results whose calls want a reply; a queue that is gone wants none any more."""
        self._open()
        deadline = time.monotonic() + timeout
        parcels = [parcel for result in results if result.reply_to and (parcel := self._parcel(result))]
        if not parcels:
            return
        with _translation:
            session = self._publisher.line.session(deadline)
            for error in self._publisher.send(session, parcels, deadline):
                if error is not None:
                    raise ResultStoreError(f"a reply was not taken: {error}") from error

    def _parcel(self, result: Result) -> Parcel | None:
        queue = result.reply_to or ""
        content_type, content_encoding = _type_of(result.payload)
        properties = {"correlation_id": result.id}
        if result.expires is not None:
            properties["expiration"] = str(max(0, int(result.expires * 1000)))
        message = Message(queue, {}, result.payload, content_type, content_encoding, properties)
        try:
            short(queue, "the queue")
            header = pack_header(message)
            # Nobody waits at a queue that is gone: that is no error.
            return Parcel(queue, "", queue, header, result.payload, mandatory=False)
        except (PublishError, Unfit) as error:
            # No attempt ever will, and whoever asked for it cannot be waiting at such a place.
            log.error("the reply to task %.80a cannot be sent, it is dropped: %s", result.id, error)
            return None

    # ── receiving replies ────────────────────────────────────────────────────────────────────────────────

    @property
    def reply_to(self) -> str:
        """The queue of this process, which is there when this returns; calls name it.

        Raises:
            ResultStoreError: the server does not answer, or refuses.
        """
        self._open()
        with _translation:
            self._listen(time.monotonic() + self._timeout)
        return self._queue

    def _listen(self, deadline: float) -> None:
        session = self._publisher.line.session(deadline)
        with self._lock:
            if self._listening == session.number:
                return
        arguments = {"x-expires": int(QUEUE_EXPIRES * 1000)}
        session.together([methods.declare_queue(1, self._queue, arguments=arguments)], deadline)
        with self._lock:
            if self._listening == session.number:
                return
            self._listening = session.number
        session.call(methods.consume(1, self._queue, "replies", no_ack=True), 1, deadline)

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self._open()
        return {id: self.decode(body) for id, body in self._replies.bodies(ids).items()}

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = frozenset(ids)
        self._open()
        deadline = time.monotonic() + max(0.0, timeout)
        if not wanted:
            return {}
        while True:
            with self._waiters.waiting(wanted) as waiter:
                with _translation:
                    self._listen(max(deadline, time.monotonic() + self._timeout))
                found = self._replies.bodies(wanted, terminal=True)
                if not found:
                    waiter.signal.wait(max(0.0, deadline - time.monotonic()))
                    # Newer ones may have taken its place among those that are kept.
                    found = {**waiter.found, **self._replies.bodies(wanted, terminal=True)}
            self._open()
            if found or time.monotonic() >= deadline:
                return {id: self.decode(payload) for id, payload in found.items()}

    # ── in the connection's thread ───────────────────────────────────────────────────────────────────────

    def _prepared(self, session: Session) -> None:
        channel = session.channel
        channel.on_deliver = self._delivered
        lost = channel.on_lost
        channel.on_lost = partial(self._lost, lost)
        expects = channel.expects
        channel.expects = lambda: expects() or self._waiters

    def _lost(self, before: Callable[[Failure], None], error: Failure) -> None:
        before(error)
        self._waiters.release()  # they listen again, over a new connection

    def _delivered(self, payload: bytes, header: bytes, body: bytes) -> None:
        try:
            properties, _ = read_header(header)
            id = properties.get("correlation_id")
            terminal = self.decode(body).state in READY_STATES
        except (Unreadable, MessageError, LookupError, TypeError, ValueError):
            return  # nobody can have sent it as a result
        if not isinstance(id, str):
            return
        reply = Reply(terminal, body, time.monotonic() + _kept_for(properties))
        if self._replies.add(id, reply) and terminal and self._waiters.wanted((id,)):
            self._waiters.tell({id: body})

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        self._open()
        self._replies.forget(ids)

    def expire(self) -> int:
        """Drop what was not asked for in time; the server drops what was not delivered in time."""
        self._open()
        return self._replies.expire()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        session = self._publisher.line.alive
        if session is not None and self._listening == session.number:
            try:
                session.connection.send(session.channel, methods.delete_queue(1, self._queue), 1)
            except Failure:
                self._listening = 0
        self._publisher.line.close()
        self._waiters.release()

    def _open(self) -> None:
        if self._closed:
            raise ResultStoreError("this result store is closed: make another one")


def _kept_for(properties: Mapping[str, Any]) -> float:
    """Seconds that a reply is kept, as its sender said."""
    expiration = str(properties.get("expiration", ""))
    return int(expiration) / 1000 if expiration.isdecimal() else float("inf")


def _type_of(payload: bytes) -> tuple[str, str]:
    """Content type and encoding of an encoded record, a mapping with a few keys, by how it begins."""
    first = payload[:1]
    if first == b"{":
        return "application/json", "utf-8"
    if payload[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "application/x-python-serialize", "binary"
    if first and (0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF)):
        return "application/x-msgpack", "binary"
    if payload.startswith(b"greenq/"):
        return "application/data", "binary"
    return "application/x-yaml", "utf-8"
