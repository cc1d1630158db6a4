"""What RabbitMQ allows: clients without any task queue around them, on messages that greenq has sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, rabbit_url, variant


class Frames(Peer):
    """One thread, one connection; acknowledges every hundredth, and with it those before."""

    rabbit: ClassVar[bool] = True
    only: ClassVar[tuple[str, ...]] = ("noop",)
    portion: ClassVar[float] = 5.0

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


class Counted(Frames):
    """Only counts what the broker delivers."""

    name: ClassVar[str] = "(frames counted, RabbitMQ)"
    variant: ClassVar[str] = "rabbit counted"


class Lean(Frames):
    """Finds the task's name, decodes the body, and calls it."""

    name: ClassVar[str] = "(the loop, RabbitMQ)"
    variant: ClassVar[str] = "rabbit loop"


@contextmanager
def dialled(url: str, **options: Any) -> Iterator[Any]:
    """Open a connection of py-amqp."""
    import amqp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port}", parts.username, parts.password,
        virtual_host=unquote(parts.path[1:]), heartbeat=0, **options,
    )  # fmt: skip
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


if inside():
    import json
    from struct import Struct

    from benchmarks.peers import greenq

    BATCH = 100
    PREFETCH = 1000
    HEADER = Struct(">BHI")
    METHOD, CONTENT, BODY = 1, 2, 3
    DELIVER = b"\0\x3c\0\x3c"
    ACK = Struct(">BHIHHQBB")
    """Type, channel, size, class 60, method 80, delivery tag, multiple, end of frame."""
    PIECE = 1 << 20

    def load(task: str, count: int) -> None:
        greenq.load(task, count)

    def counted(kind: int, payload: bytes) -> int:
        if kind == METHOD and payload.startswith(DELIVER):
            tick()
            return 1
        return 0

    class Loop:
        """Calls when a body is there: those of these tasks fit into a frame."""

        def __init__(self) -> None:
            self._known = False

        def __call__(self, kind: int, payload: bytes) -> int:
            if kind == CONTENT:
                self._known = b"\x04taskS\0\0\0\x04noop" in payload
            elif kind == BODY:
                assert self._known
                args, kwargs, _ = json.loads(payload)
                tick(*args, **kwargs)
                return 1
            return 0

    def read(sock: Any, take: Any) -> None:
        rest = b""
        done = acknowledged = 0
        while piece := sock.recv(PIECE):
            data = rest + piece
            start, length = 0, len(data)
            while length - start >= 8:
                kind, _, size = HEADER.unpack_from(data, start)
                if length - start < size + 8:
                    break
                done += take(kind, data[start + 7 : start + 7 + size])
                start += size + 8
            rest = data[start:]
            if done - acknowledged >= BATCH:
                acknowledged = done
                sock.sendall(ACK.pack(1, 1, 13, 60, 80, done, 1, 0xCE))

    def main() -> None:
        with dialled(rabbit_url()) as connection:
            channel = connection.channel()
            channel.queue_declare("celery", durable=True, auto_delete=False)
            channel.basic_qos(0, PREFETCH, False)
            # py-amqp reads on after this; what it has not read yet is ours.
            channel.basic_consume("celery", nowait=True, consumer_tag="frames")
            sock = connection.transport.sock
            sock.settimeout(None)
            read(sock, counted if variant() == "rabbit counted" else Loop())

    if __name__ == "__main__":
        main()
