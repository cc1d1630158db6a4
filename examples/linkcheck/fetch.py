"""Ask for one address over HTTP, in plain blocking code, and say what came of it.

Nothing here knows of green threads: under ``greenq worker --pool gevent`` the same `urllib` calls wait
without holding anyone else up.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

__all__ = ["Answer", "Dead", "Transient", "fetch", "probe"]

_AGENT = "greenq-linkcheck/0.1"
_CHUNK = 64 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEAD_COUNTS = frozenset({404, 410, 429})
"""Answers to HEAD that are believed; after any other refusal GET is tried, as many servers know only GET."""


class Dead(Exception):
    """The address does not work, and asking again would not help."""


class Transient(Exception):
    """It did not work this time.

    Parameters:
        after: seconds that the server asked to wait, or None.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: the HTTP status after redirects.
        url: where the redirects ended.
        kind: the media type, such as ``text/html``.
        charset: as the header names it, or None.
        body: the content, up to the limit; empty for HEAD.
    """

    status: int
    url: str
    kind: str
    charset: str | None
    body: bytes


def fetch(url: str, timeout: float, limit: int = 16 * 1024 * 1024) -> Answer:
    """GET an address.

    Parameters:
        timeout: seconds for the whole exchange.
        limit: bytes of the body that are read at most.

    Raises:
        Dead, Transient: see there.
    """
    return _ask("GET", url, timeout, limit)


def probe(url: str, timeout: float) -> Answer:
    """Ask whether an address works without its content: HEAD, and GET where HEAD is refused.

    Raises:
        Dead, Transient: see there.
    """
    try:
        return _ask("HEAD", url, timeout, 0)
    except (Dead, Transient) as error:
        status = getattr(error.__cause__, "code", None)
        if status is None or status in _HEAD_COUNTS:
            raise
    return _ask("GET", url, timeout, 0)


def _ask(method: str, url: str, timeout: float, limit: int) -> Answer:
    deadline = time.monotonic() + timeout
    try:
        request = urllib.request.Request(_ascii(url), method=method, headers={"User-Agent": _AGENT})
        with _opener(request.host).open(request, timeout=timeout) as response:
            body = _read(response, limit, deadline)
            headers = response.headers
            return Answer(
                response.status, response.url, headers.get_content_type(), headers.get_content_charset(), body
            )
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(error) from error
    except urllib.error.URLError as error:
        cause = error.reason if isinstance(error.reason, BaseException) else error
        raise _failure(cause) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(error) from error


def _read(response: Any, limit: int, deadline: float) -> bytes:
    """Read the body in pieces: a socket's timeout bounds each piece only, and some servers drip."""
    pieces: list[bytes] = []
    left = limit
    while left > 0:
        piece = response.read(min(_CHUNK, left))
        if not piece:
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            break
        pieces.append(piece)
        left -= len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)


def _refusal(error: urllib.error.HTTPError) -> Exception:
    reason = f"{error.code} {error.reason}"
    if error.code in _TRANSIENT:
        return Transient(reason, _retry_after(error.headers))
    if 300 <= error.code < 400:
        return Dead(f"{error.code}, redirects in a circle or to nowhere")
    return Dead(reason)


def _failure(error: BaseException) -> Exception:
    """Sort what went wrong below HTTP into final and passing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Dead(f"bad certificate: {error.verify_message}")
    if isinstance(error, socket.gaierror):
        return Transient("name lookup failed") if error.errno == socket.EAI_AGAIN else Dead("no such host")
    if isinstance(error, TimeoutError):
        return Transient("no answer in time")
    if isinstance(error, ConnectionRefusedError):
        return Transient("connection refused")
    if isinstance(error, ConnectionError):
        return Transient("connection lost")
    if isinstance(error, http.client.InvalidURL | ValueError):
        return Dead("not a valid address")
    if isinstance(error, http.client.HTTPException):
        return Transient("the answer broke off or is not HTTP")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
        return Transient("this machine is out of open files or buffers")
    return Transient(str(error) or type(error).__name__)


def _retry_after(headers: Message) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


@cache
def _opener_with(proxies: bool) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler(None if proxies else {}))


def _opener(host: str) -> urllib.request.OpenerDirector:
    """The environment's proxies are for other machines, never for this one."""
    return _opener_with((urlsplit(f"//{host}").hostname or "") not in _LOOPBACK)


def _ascii(url: str) -> str:
    """Quote what HTTP can't carry as it is; a ValueError if there is no host or its port is impossible."""
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:
        raise ValueError(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    keep = "%/:=&?~+!$,;'@()*[]|"
    return urlunsplit((parts.scheme, host, quote(parts.path, keep), quote(parts.query, keep), ""))
