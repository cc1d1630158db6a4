"""A connection to RabbitMQ, owned by one native thread that reads, answers heartbeats and reconnects nothing.

Whoever wants something sends its frames from any thread, which never blocks, and waits for a `Reply`. A task
that blocks every green thread keeps no heartbeat back.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from struct import unpack_from
from typing import Any

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.channel import Channel, Reply
from greenq.amqp.doubt import Doubt
from greenq.amqp.failures import Closed, Failure, Unreachable, ending, refusal
from greenq.amqp.frames import Assembler
from greenq.amqp.handshake import greet
from greenq.amqp.outlet import Outlet
from pools import native

__all__ = ["Connection"]

FULL = 16_000_000
"""Bytes that may wait to be sent before publishers have to."""
LOOK_EVERY = 500.0
"""Milliseconds between two looks at least: whoever begins to wait does not ring."""
FAREWELL = 4.0
"""Seconds that an ending connection waits while nothing goes out and nothing comes in."""


class Connection:
    """Begins to connect at once; `opened` tells when that has ended, `lost` whether it failed.

    Parameters:
        address: its nodes are tried in turn, from `first` on.
        setup: frames that are sent when it is open, such as those that open channels, and how many answers
            come to them.
        channels: those that `setup` opens.
        name: shown by RabbitMQ's management.

    Attributes:
        channels: by their numbers, the main one first.
        is_open: whether it was opened, and what `setup` asks for was answered.
        ended: set once nothing more goes out.
        unsent: how many bytes were not sent when it had ended.
    """

    def __init__(
        self, address: Address, first: int, setup: tuple[bytes, int], channels: list[Channel], name: str
    ) -> None:
        self.address = address
        self.pid = os.getpid()
        self.opened = native.Signal()
        self.is_open = False
        self.ended = native.Signal()
        self.unsent = 0
        self.lost: Failure | None = None
        self.blocked: str | None = None
        self.frame_size = 131_072
        self.most_channels = 2047
        self._first = first
        self._setup = setup
        self._name = name
        self._lock = native.Lock()
        self.channels = {channel.number: channel for channel in channels}
        self._numbers = 1
        self._spent: list[Reply] = []
        self._put: Callable[[bytes], int] | None = None
        """Sends at once what needs no encryption; see `Transport.put`."""
        self._eased: list[native.Signal] = []
        self._bell, self._ear = ends = native.original("socket", "socketpair")()
        for end in ends:
            end.setblocking(False)
        self._outlet: Outlet | None = None
        self._heard = time.monotonic()
        self._heartbeat = 0.0
        self._doubt = Doubt()
        self._ending = False
        self._assembler = Assembler(self._take)
        native.start(self._run, f"greenq-{name}")

    # ── used by others ───────────────────────────────────────────────────────────────────────────────────

    def send(self, channel: Channel, data: bytes, answers: int = 0) -> Reply | None:
        """Send frames without waiting.

        Parameters:
            answers: how many answers come; the reply has them all.

        Raises:
            Failure: channel or connection is lost; nothing was sent.
        """
        with self._lock:
            error = channel.lost or self.lost
            if error is not None:
                raise error.again()
            reply = None
            if answers:
                try:
                    reply = self._spent.pop()
                    reply.answers, reply.done = [], False
                except IndexError:
                    reply = Reply(self._spent)
                reply.missing = answers
                channel.pending.append(reply)
            outlet = self._outlet
            if outlet is None or outlet.rest or self._put is None:
                self._write(data)
                return reply
            # Nearly always: as `Outlet.write` does, and without a call.
            outlet.sent = time.monotonic()
            try:
                sent = self._put(data)
            except OSError:
                sent = 0  # tried once more there
            if sent < len(data):
                self._write(data[sent:])
        return reply

    def call(self, channel: Channel, data: bytes, answers: int, deadline: float) -> Any:
        """Send frames and wait for their answers; see `send` and `Reply.wait`."""
        reply = self.send(channel, data, answers)
        assert reply is not None
        return reply.wait(deadline)

    def channel(self) -> tuple[Channel, bytes]:
        """A new channel and the frame that opens it, which is to be sent first (one answer)."""
        with self._lock:
            if self.lost is not None:
                raise self.lost.again()
            if len(self.channels) >= self.most_channels:
                raise Failure(f"the server allows {self.most_channels} channels only: raise its channel_max")
            while True:
                self._numbers = self._numbers + 1 if self._numbers < self.most_channels else 2
                if self._numbers not in self.channels:
                    break
            channel = self.channels[self._numbers] = Channel(self._numbers)
        return channel, methods.open_channel(channel.number)

    def drop(self, channel: Channel) -> None:
        """Close a channel that is not needed any more; returns at once."""
        with self._lock:
            if channel.lost is None and self.lost is None:
                self._write(methods.close_channel(channel.number))
            else:
                self.channels.pop(channel.number, None)

    def ease(self) -> native.Signal | None:
        """None if it takes more now; else what tells that things have changed."""
        with self._lock:
            full = self._outlet is not None and self._outlet.waiting >= FULL
            if self.lost is not None or (self.blocked is None and not full):
                return None
            signal = native.Signal()
            self._eased.append(signal)
            return signal

    def is_awaited(self) -> bool:
        """Whether somebody waits for an answer that the server could give."""
        if not self.is_open or self._ending or self.blocked is not None:
            return False
        return any(one.awaited() for one in list(self.channels.values()))

    def close(self) -> None:
        """End it; what was sent before arrives. Idempotent."""
        with self._lock:
            if self._ending:
                return
            self._ending = True
            self._heard = time.monotonic()
            if self.lost is None and self.is_open:
                self._write(methods.close_connection())
        self._ring()

    def abort(self, error: Failure) -> None:
        """End it at once, as lost."""
        with self._lock:
            self.lost = self.lost or error
        self._ring()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, data: bytes) -> None:
        """Send what the socket takes now, keep the rest; the lock is held."""
        if self._outlet is None:
            raise Unreachable("the connection is not open")
        self._outlet.write(data)

    def _flush(self) -> None:
        with self._lock:
            if self._outlet is not None:
                self._outlet.flush()
            full = self.blocked is not None or (self._outlet is not None and self._outlet.waiting >= FULL)
            eased = [] if full else self._ease()
        for signal in eased:
            signal.set()

    def _ease(self) -> list[native.Signal]:
        eased, self._eased = self._eased, []
        return eased

    def _ring(self) -> None:
        try:
            self._bell.send(b"!")
        except OSError:
            return

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._open()
            self._read()
            error: Failure = Closed("the connection was closed")
        except Exception as problem:
            error = ending(problem, self.address.shown)
        self._end(error)

    def _open(self) -> None:
        transport, tuned = greet(self.address, self._first, self._name)
        self.frame_size, self._heartbeat = tuned.frame_size, tuned.heartbeat
        self.most_channels = tuned.channels
        self._assembler.feed(tuned.rest)
        frames, answers = self._setup
        with self._lock:
            self._outlet = Outlet(transport, self._ring)
            self._put = transport.put
            self._heard = time.monotonic()
            first = next(iter(self.channels.values()), None)
            reply = Reply(self._spent)
            reply.missing = answers
            if first is not None:
                first.pending.append(reply)
            self._write(frames)
        self._set_up = reply

    def _read(self) -> None:
        assert self._outlet is not None
        outlet, transport = self._outlet, self._outlet.transport
        poll = native.original("select", "poll")()
        ear, socket = self._ear.fileno(), transport.fileno()
        poll.register(ear, select.POLLIN)
        poll.register(socket, select.POLLIN)
        deadline = time.monotonic() + self.address.connect_timeout
        pause = beat_by = 0.0
        while True:
            if not self.is_open:
                if self._set_up.done:
                    if self._set_up.error is not None:
                        raise self._set_up.error
                    self.is_open = True
                    self.opened.set()
                elif time.monotonic() > deadline:
                    raise Unreachable(f"{self.address.shown} does not answer")
            poll.modify(socket, select.POLLIN | (select.POLLOUT if outlet.rest else 0))
            found = poll.poll(pause)
            for place, events in found:
                if place == ear:
                    self._ear.recv(4096)
                    if self.lost is not None or (self._ending and not self.is_open):
                        return
                    beat_by = 0.0
                    continue
                if events & select.POLLOUT:
                    self._flush()
                if events & ~select.POLLOUT:
                    data = transport.recv()
                    if data is None:
                        continue
                    if not data:
                        if self._ending:
                            return
                        raise Unreachable(f"{self.address.shown} ended the connection", True)
                    self._heard = time.monotonic()
                    self._assembler.feed(data)
                    if self.lost is not None:
                        return
            now = time.monotonic()
            if not found or now >= beat_by:
                # What is due goes by the clock: a busy connection need not ask after each message.
                self._beat()
                pause = self._pause()
                beat_by = now + pause / 1000

    def _pause(self) -> float:
        """Milliseconds until there is something to do beside reading."""
        if self._ending or not self.is_open:
            return 500.0
        if not self._heartbeat:
            return LOOK_EVERY
        assert self._outlet is not None
        due = min(self._outlet.sent + self._heartbeat / 2, self._heard + 2 * self._heartbeat)
        return max(1.0, min((due - time.monotonic()) * 1000 + 1, LOOK_EVERY))

    def _beat(self) -> None:
        now = time.monotonic()
        outlet = self._outlet
        assert outlet is not None
        if self._ending and now - max(self._heard, outlet.sent) > FAREWELL:
            raise Closed("the connection was closed")
        self._doubt.weigh(self, now, self._heard, bool(outlet.rest))
        for channel in list(self.channels.values()):
            channel.on_look()
        if not self._heartbeat:
            return
        if now - self._heard > 2 * self._heartbeat:
            raise Unreachable(f"{self.address.shown} is silent: its heartbeats are missing", True)
        if now - outlet.sent >= self._heartbeat / 2:
            with self._lock:
                self._write(methods.HEARTBEAT)

    def _take(self, number: int, method: int, payload: bytes, header: bytes, body: bytes) -> None:
        """A method has come."""
        channel = self.channels.get(number)
        if channel is not None:
            if method == methods.DELIVER:
                channel.on_deliver(payload, header, body)
            elif method in (methods.ACK, methods.NACK):
                tag, bits = unpack_from(">QB", payload, 4)
                channel.on_confirm(tag, bool(bits & 1), method == methods.ACK)
            elif method == methods.RETURN:
                channel.on_return(payload, header)
            elif method == methods.CANCEL:
                channel.on_cancel(methods.read_short(payload, 4)[0])
            elif method == methods.CHANNEL_CLOSE:
                self._channel_closed(channel, payload)
            elif method == methods.CHANNEL_CLOSE_OK:
                self._channel_gone(channel, Closed("the channel was closed"))
            else:
                if method == methods.GET_OK:
                    channel.on_got(unpack_from(">Q", payload, 4)[0])
                pending = channel.pending
                if pending:
                    reply = pending[0]
                    reply.answers.append((method, payload, header, body))
                    reply.missing -= 1
                    if reply.missing <= 0:
                        pending.popleft()
                        reply.done = True
                        reply.bell.ring()
        elif number == 0:
            self._control(method, payload)

    def _control(self, method: int, payload: bytes) -> None:
        if method == methods.BLOCKED:
            self.blocked = methods.read_short(payload, 4)[0] or "it is short of memory or disk"
        elif method == methods.UNBLOCKED:
            self.blocked = None
            self._flush()
        elif method == methods.CLOSE:
            code, text = methods.read_close(payload)
            with self._lock:
                self._write(methods.frame(0, methods.CLOSE_OK))
            raise Unreachable(str(refusal(code, text)), True)
        elif method == methods.CLOSE_OK:
            raise Closed("the connection was closed")

    def _channel_closed(self, channel: Channel, payload: bytes) -> None:
        with self._lock:
            self._write(methods.frame(channel.number, methods.CHANNEL_CLOSE_OK))
        self._channel_gone(channel, refusal(*methods.read_close(payload)))

    def _channel_gone(self, channel: Channel, error: Failure) -> None:
        self._assembler.drop(channel.number)
        with self._lock:
            self.channels.pop(channel.number, None)
        channel.end(error)

    def _end(self, error: Failure) -> None:
        with self._lock:
            # Without the frames that hold this connection: many may fail before the collector comes by.
            self.lost = error = (self.lost or error).with_traceback(None)
            channels = list(self.channels.values())
            self.channels.clear()
            eased = self._ease()
            outlet, self._outlet, self._put = self._outlet, None, None
        for channel in channels:
            channel.end(error)
        for signal in eased:
            signal.set()
        self.opened.set()
        if outlet is not None:
            self.unsent = outlet.waiting
            outlet.transport.close()
        self.ended.set()
        self._bell.close()
        self._ear.close()
        # What refers to each other here would wait for the collector, which on a quiet worker takes its time.
        self._assembler.end()
        self._spent.clear()
