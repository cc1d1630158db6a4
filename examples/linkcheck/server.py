"""A small web server for a directory, that answers late on purpose.

``python -m examples.linkcheck.server DIRECTORY --latency 0.1`` prints its address and serves until SIGTERM;
started by a program, until that program closes its standard input or dies. It holds thousands of connections
at once, counts requests, and tells the counts at ``/-/counts``.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import mimetypes
import signal
import socket
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from examples.linkcheck.openfiles import allow

__all__ = ["LocalServer", "serve"]

_BACKLOG = 4096
_IDLE = 60.0
_LONGEST_REQUEST = 64 * 1024


class _Counts:
    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.most_connections = 0


class _Connection(asyncio.Protocol):
    """One connection, one request: read it, wait out the latency, answer, close."""

    def __init__(self, root: Path, latency: float, counts: _Counts) -> None:
        self._root = root
        self._latency = latency
        self._counts = counts
        self._received = b""
        self._answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts.connections += 1
        self._counts.most_connections = max(self._counts.most_connections, self._counts.connections)
        self._idle = asyncio.get_running_loop().call_later(_IDLE, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._counts.connections -= 1
        self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answering:
            return
        if b"\r\n\r\n" in self._received:
            self._answering = True
            asyncio.get_running_loop().call_later(self._latency, self._answer)
        elif len(self._received) > _LONGEST_REQUEST:
            self._transport.abort()

    def _answer(self) -> None:
        if self._transport.is_closing():
            return
        self._counts.requests += 1
        method, _, rest = self._received.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = unquote(urlsplit(rest.partition(" ")[0]).path)
        if method not in ("GET", "HEAD"):
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"", "text/plain", method)
        elif path == "/-/counts":
            self._counts.requests -= 1
            self._send(HTTPStatus.OK, json.dumps(vars(self._counts)).encode(), "application/json", method)
        else:
            self._send_file(path, method)

    def _send_file(self, path: str, method: str) -> None:
        parts = [part for part in path.split("/") if part]
        file = self._root.joinpath(*parts)
        if ".." in parts or "\0" in path:
            self._send(HTTPStatus.BAD_REQUEST, b"", "text/plain", method)
        elif file.is_dir() and not path.endswith("/"):
            self._send(HTTPStatus.MOVED_PERMANENTLY, b"", "text/plain", method, f"Location: {path}/\r\n")
        elif file.is_dir() and not (file / "index.html").exists():
            self._send(HTTPStatus.OK, _listing(file, path), "text/html; charset=utf-8", method)
        else:
            file = file / "index.html" if file.is_dir() else file
            try:
                body = file.read_bytes()
            except OSError:
                self._send(HTTPStatus.NOT_FOUND, b"not here\n", "text/plain", method)
            else:
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self._send(HTTPStatus.OK, body, kind, method)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, method: str, more: str = "") -> None:
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
        )
        self._transport.write(head.encode("latin-1", "replace") + (b"" if method == "HEAD" else body))
        self._transport.close()


def _listing(directory: Path, path: str) -> bytes:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in directory.iterdir())
    rows = "".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a></li>\n' for name in names)
    return f"<!doctype html><title>{html.escape(path)}</title><ul>\n{rows}</ul>\n".encode()


async def serve(root: Path, latency: float, port: int = 0, until_eof: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters:
        root: the directory; symbolic links in it are followed.
        latency: seconds before each answer.
        port: on the loopback address; 0 takes a free one.
        until_eof: stop at the end of standard input, too.
    """
    counts = _Counts()
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)

    def watch_stdin() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        loop.call_soon_threadsafe(end.set)

    if until_eof:
        threading.Thread(target=watch_stdin, daemon=True).start()
    server = await loop.create_server(
        lambda: _Connection(root, latency, counts), "127.0.0.1", port, backlog=_BACKLOG
    )
    address: tuple[str, int] = server.sockets[0].getsockname()
    print(f"http://{address[0]}:{address[1]}/", flush=True)
    await end.wait()
    server.close()


class LocalServer:
    """This server in a process of its own, for the time of a ``with`` block.

    Parameters:
        root: the directory to serve.
        latency: seconds before each answer.

    Attributes:
        url: where it is.
    """

    def __init__(self, root: Path, latency: float = 0.0) -> None:
        program = [sys.executable, "-m", "examples.linkcheck.server"]
        self._command = [*program, str(root.resolve()), "--latency", str(latency), "--until-eof"]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._process.wait(5)
            raise OSError("the local web server did not start; its own message is above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process.stdout.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m examples.linkcheck.server", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is not a directory")
    allow(_BACKLOG + socket.SOMAXCONN)
    try:
        asyncio.run(serve(options.directory, options.latency, options.port, options.until_eof))
    except OSError as error:
        sys.exit(f"cannot serve: {error}")


if __name__ == "__main__":
    main()
