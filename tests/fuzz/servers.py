"""What servers say: valid replies of Redis, valid frames of RabbitMQ."""

from __future__ import annotations

from functools import cache
from struct import pack

from greenq.amqp import methods
from greenq.amqp.envelope import pack_header
from greenq.amqp.tables import short, write_table
from tests.fuzz import samples

__all__ = ["SPOKEN", "frames"]

SPOKEN = (
    b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
    b"+OK\r\n", b":12\r\n", b"$-1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n",
    b"(123456789012345678901234567890\r\n",
    b"$5\r\nhello\r\n", b"=7\r\ntxt:abc\r\n", b"-WRONGTYPE of the key\r\n", b"!9\r\nERR wrong\r\n",
    b"*4\r\n:-1\r\n:0\r\n_\r\n*2\r\n$2\r\n{}\r\n$5\r\nhello\r\n", b"~2\r\n:1\r\n:2\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\ncelery\r\n", b"|1\r\n+ttl\r\n:3600\r\n",
    b"*3\r\n:-1\r\n:0\r\n*1\r\n*1\r\n$3\r\nabc\r\n",
)  # fmt: skip
"""Replies of RESP3, of every type."""


def _method(channel: int, method: int, arguments: bytes = b"") -> bytes:
    return methods.frame(channel, method, arguments)


@cache
def frames() -> tuple[bytes, ...]:
    """What RabbitMQ sends in a session, a message among it."""
    message = samples.messages()[0]
    content = b"".join(methods.content(1, pack_header(message), message.body, 131_072))
    start = (
        b"\0\x09" + write_table({"product": "RabbitMQ"}) + pack(">I", 5) + b"PLAIN" + pack(">I", 5) + b"en_US"
    )
    delivered = short("greenq-1", "x") + pack(">QB", 1, 0) + b"\0" + short("celery", "x")
    got = pack(">QB", 1, 0) + b"\0" + short("celery", "x") + pack(">I", 3)
    return (
        _method(0, methods.START, start),
        _method(0, methods.TUNE, pack(">HIH", 2047, 131_072, 60)),
        _method(0, methods.OPEN_OK, b"\0"),
        _method(1, 0x14000B, b"\0\0\0\0"),
        _method(1, 0x3C000B),
        _method(1, methods.QUEUE_DECLARE_OK, short("celery", "x") + pack(">II", 3, 0)),
        _method(1, methods.DELIVER, delivered) + content,
        _method(1, methods.GET_OK, got) + content,
        _method(1, methods.GET_EMPTY, b"\0"),
        _method(1, methods.CONSUME_OK, short("greenq-1", "x")),
        _method(1, methods.CANCEL, short("greenq-1", "x") + b"\1"),
        _method(1, methods.ACK, pack(">QB", 1, 0)),
        _method(1, methods.CHANNEL_CLOSE, pack(">H", 404) + short("NOT_FOUND", "x") + pack(">HH", 50, 10)),
        _method(0, methods.CLOSE, pack(">H", 320) + short("CONNECTION_FORCED", "x") + pack(">HH", 0, 0)),
        _method(0, methods.BLOCKED, short("low on memory", "x")),
        _method(0, methods.UNBLOCKED),
        methods.HEARTBEAT,
    )
