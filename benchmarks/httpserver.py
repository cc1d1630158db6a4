"""A web server of a few lines that takes its time: ``python -m benchmarks.httpserver``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.place import ROOT, Failed

__all__ = ["DELAY", "answering"]

DELAY = 0.05
"""Seconds until it answers."""
BACKLOG = 10_000
PAGE = b"<html>" + b"What a page says. " * 50 + b"</html>\n"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
ANSWER = (HEAD % len(PAGE)).encode() + PAGE


class Connection(asyncio.Protocol):
    """One request and its answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to answer to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._asked = b""

    def data_received(self, data: bytes) -> None:
        """Answer, in a while, what is complete."""
        self._asked += data
        if self._asked.endswith(b"\r\n\r\n"):
            asyncio.get_running_loop().call_later(DELAY, self._answer)

    def _answer(self) -> None:
        self._transport.write(ANSWER)
        self._transport.close()


async def serve() -> None:
    """Answer for ever; says first where."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def answering() -> Iterator[int]:
    """Run it; gives its port."""
    command = [sys.executable, "-m", "benchmarks.httpserver"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = server.stdout.readline()
            if not port:
                raise Failed("the HTTP server did not start")
            yield int(port)
        finally:
            server.kill()


if __name__ == "__main__":
    asyncio.run(serve())
