"""The methods of AMQP that greenq sends, as whole frames; the few answers that it reads.

Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.extended.xml
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from struct import Struct, pack, unpack_from
from typing import Any

from greenq.amqp.tables import read_table, short, write_table

__all__ = [
    "ack", "ack_main", "bind_exchange", "bind_queue", "cancel", "close_channel", "close_connection",
    "confirm_select", "consume", "content", "declare_exchange", "declare_queue", "delete_queue", "frame",
    "get", "nack", "nack_all", "open_channel", "open_connection", "publish", "purge_queue", "qos",
    "read_close", "read_short", "read_start", "start_ok", "tune_ok",
]  # fmt: skip

END = b"\xce"
HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"

START, START_OK, SECURE, TUNE, TUNE_OK = 0x0A000A, 0x0A000B, 0x0A0014, 0x0A001E, 0x0A001F
OPEN, OPEN_OK, CLOSE, CLOSE_OK = 0x0A0028, 0x0A0029, 0x0A0032, 0x0A0033
BLOCKED, UNBLOCKED = 0x0A003C, 0x0A003D
CHANNEL_OPEN, CHANNEL_FLOW, CHANNEL_CLOSE, CHANNEL_CLOSE_OK = 0x14000A, 0x140014, 0x140028, 0x140029
QUEUE_DECLARE_OK = 0x32000B
CONSUME_OK, CANCEL, CANCEL_OK = 0x3C0015, 0x3C001E, 0x3C001F
RETURN, DELIVER, GET_OK, GET_EMPTY = 0x3C0032, 0x3C003C, 0x3C0047, 0x3C0048
ACK, NACK = 0x3C0050, 0x3C0078

_head = Struct(">BHI").pack
_tag = Struct(">BHIIQBB").pack


def frame(channel: int, method: int, arguments: bytes = b"") -> bytes:
    """One method frame."""
    return _head(1, channel, 4 + len(arguments)) + pack(">I", method) + arguments + END


def _long_string(text: bytes) -> bytes:
    return pack(">I", len(text)) + text


# ── connection and channel ───────────────────────────────────────────────────────────────────────────────


def start_ok(properties: Mapping[str, Any], mechanism: str, response: bytes) -> bytes:
    """Answer the server's greeting."""
    return frame(
        0, START_OK,
        write_table(properties) + short(mechanism, "mechanism") + _long_string(response) + b"\5en_US",
    )  # fmt: skip


def tune_ok(channels: int, frame_size: int, heartbeat: int) -> bytes:
    """Agree on limits."""
    return frame(0, TUNE_OK, pack(">HIH", channels, frame_size, heartbeat))


def open_connection(vhost: str) -> bytes:
    """Choose the virtual host."""
    return frame(0, OPEN, short(vhost, "the virtual host") + b"\0\0")


def close_connection() -> bytes:
    """Say goodbye."""
    return frame(0, CLOSE, pack(">H", 200) + b"\0" + b"\0\0\0\0")


def open_channel(channel: int) -> bytes:
    """Open a channel."""
    return frame(channel, CHANNEL_OPEN, b"\0")


def close_channel(channel: int) -> bytes:
    """Close a channel."""
    return frame(channel, CHANNEL_CLOSE, pack(">H", 200) + b"\0" + b"\0\0\0\0")


def confirm_select(channel: int) -> bytes:
    """Ask for confirmations of what is published."""
    return frame(channel, 0x55000A, b"\0")


def qos(channel: int, count: int) -> bytes:
    """Bound what each further consumer holds; also a barrier: the answer comes after all that was sent."""
    return frame(channel, 0x3C000A, pack(">IHB", 0, count, 0))


# ── exchanges and queues ─────────────────────────────────────────────────────────────────────────────────


def declare_exchange(
    channel: int, name: str, kind: str, durable: bool = True, passive: bool = False
) -> bytes:
    """Make an exchange if it is not there, or only look whether it is (`passive`)."""
    flags = passive | durable << 1
    return frame(
        channel, 0x28000A,
        b"\0\0" + short(name, "the exchange") + short(kind, "type") + bytes((flags,)) + b"\0\0\0\0",
    )  # fmt: skip


def bind_exchange(channel: int, target: str, source: str, key: str) -> bytes:
    """Let an exchange pass messages on to another."""
    names = short(target, "the exchange") + short(source, "the exchange") + short(key, "the routing key")
    return frame(channel, 0x28001E, b"\0\0" + names + b"\0\0\0\0\0")


def declare_queue(
    channel: int,
    name: str,
    *,
    passive: bool = False,
    durable: bool = True,
    exclusive: bool = False,
    auto_delete: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    """Make a queue if it is not there, or only look at it (`passive`)."""
    flags = passive | durable << 1 | exclusive << 2 | auto_delete << 3
    return frame(
        channel, 0x32000A,
        b"\0\0" + short(name, "the queue") + bytes((flags,)) + write_table(arguments or {}),
    )  # fmt: skip


def bind_queue(
    channel: int, queue: str, exchange: str, key: str, arguments: Mapping[str, Any] | None = None
) -> bytes:
    """Let an exchange put messages into a queue."""
    names = short(queue, "the queue") + short(exchange, "the exchange") + short(key, "the routing key")
    return frame(channel, 0x320014, b"\0\0" + names + b"\0" + write_table(arguments or {}))


def purge_queue(channel: int, queue: str) -> bytes:
    """Drop what is ready in a queue."""
    return frame(channel, 0x32001E, b"\0\0" + short(queue, "the queue") + b"\0")


def delete_queue(channel: int, queue: str) -> bytes:
    """Remove a queue."""
    return frame(channel, 0x320028, b"\0\0" + short(queue, "the queue") + b"\0")


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────


def consume(
    channel: int,
    queue: str,
    tag: str,
    *,
    no_ack: bool = False,
    answered: bool = True,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    """Ask for messages to be pushed.

    Parameters:
        answered: let the server confirm it. RabbitMQ does so out of order: where others ask on the same
            channel meanwhile, their answers may come first.
    """
    names = short(queue, "the queue") + short(tag, "the consumer")
    bits = bytes((no_ack << 1 | (not answered) << 3,))
    return frame(channel, 0x3C0014, b"\0\0" + names + bits + write_table(arguments or {}))


def cancel(channel: int, tag: str) -> bytes:
    """Ask for no more; no answer comes."""
    return frame(channel, CANCEL, short(tag, "the consumer") + b"\1")


def get(channel: int, queue: str) -> bytes:
    """Ask for one message."""
    return frame(channel, 0x3C0046, b"\0\0" + short(queue, "the queue") + b"\0")


def ack(channel: int, tag: int, multiple: bool = False) -> bytes:
    """Acknowledge a delivery, or all up to it."""
    return _tag(1, channel, 13, ACK, tag, multiple, 0xCE)


ack_main = partial(_tag, 1, 1, 13, ACK)
"""The same on channel 1, of a tag, whether all up to it are meant, and 0xCE; a call less for a message."""


def nack(channel: int, tag: int, requeue: bool = True) -> bytes:
    """Give a delivery back."""
    return _tag(1, channel, 13, NACK, tag, requeue << 1, 0xCE)


def nack_all(channel: int) -> bytes:
    """Give back everything that the channel holds."""
    return _tag(1, channel, 13, NACK, 0, 0b11, 0xCE)


def publish(channel: int, exchange: str, key: str, mandatory: bool = True) -> bytes:
    """The first frame of a message; `content` makes the others."""
    names = short(exchange, "the exchange") + short(key, "the queue")
    return frame(channel, 0x3C0028, b"\0\0" + names + (b"\1" if mandatory else b"\0"))


def content(channel: int, header: bytes, body: bytes, frame_size: int) -> list[bytes]:
    """The frames of a message's properties and body."""
    size = len(body)
    parts = [_head(2, channel, 12 + len(header)) + b"\0\x3c\0\0" + size.to_bytes(8, "big") + header + END]
    most = frame_size - 8
    if size <= most:
        if size:
            parts += (_head(3, channel, size), body, END)
        return parts
    view = memoryview(body)
    for at in range(0, size, most):
        some = view[at : at + most]
        parts += (_head(3, channel, len(some)), bytes(some), END)
    return parts


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────


def read_short(data: bytes, at: int) -> tuple[str, int]:
    """A short string, and where it ends."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "replace"), end


def read_close(data: bytes) -> tuple[int, str]:
    """Why the server closes a channel or a connection: AMQP's number and its words."""
    (code,) = unpack_from(">H", data, 4)
    return code, read_short(data, 6)[0]


def read_start(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The server's properties and its mechanisms."""
    properties, at = read_table(data, 6)
    (size,) = unpack_from(">I", data, at)
    return properties, data[at + 4 : at + 4 + size].decode("utf-8", "replace").split()
