"""Requests and replies of remote control, as they travel.

Source: kombu/pidbox.py (``Mailbox._publish``, ``_publish_reply``, ``Node.handle_message``), kombu/matcher.py.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from greenq.codecs import Codecs
from greenq.errors import GreenqError
from greenq.events.clock import Clock
from greenq.radio import Post

__all__ = ["Request", "Unreadable", "exchange_of", "read_reply", "read_request", "reply_exchange_of"]


class Unreadable(GreenqError):
    """What was said is no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants of some workers.

    Parameters:
        method: the command's name.
        destination: names of nodes; None for all, or those that `pattern` fits.
        pattern, matcher: a pattern of names, and its kind: ``"glob"`` or ``"pcre"``.
        ticket: what the answer has to carry.
        reply_exchange, reply_key: where the answer goes; empty if none is wanted.
        expires: seconds since the epoch after which nobody waits for an answer any more.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    destination: Sequence[str] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_exchange: str = ""
    reply_key: str = ""
    expires: float | None = None

    def is_for(self, node: str) -> bool:
        """Whether the node of that name is meant."""
        if self.destination:
            return node in self.destination
        if self.pattern and self.matcher:
            if self.matcher == "glob":
                return fnmatchcase(node, self.pattern)
            try:
                return re.match(self.pattern, node) is not None
            except re.error:
                return False
        return True

    def post(self, exchange: str, clock: Clock) -> Post:
        """The message that carries it."""
        body: dict[str, Any] = {
            "method": self.method, "arguments": dict(self.arguments),
            "destination": list(self.destination) if self.destination is not None else None,
            "pattern": self.pattern, "matcher": self.matcher,
        }  # fmt: skip
        if self.reply_exchange:
            body["ticket"] = self.ticket
            body["reply_to"] = {"exchange": self.reply_exchange, "routing_key": self.reply_key}
        headers = {"clock": clock.forward(), "expires": self.expires or 0}
        return Post(exchange, "", _encode(body), headers)

    def answer(self, node: str, reply: Any, clock: Clock) -> Post:
        """The message that answers it."""
        headers = {"ticket": self.ticket, "clock": clock.forward()}
        return Post(self.reply_exchange, self.reply_key, _encode({node: reply}), headers)


def exchange_of(namespace: str) -> str:
    """Where requests go: a fanout exchange."""
    return f"{namespace}.pidbox"


def reply_exchange_of(namespace: str) -> str:
    """Where answers go: a direct exchange."""
    return f"reply.{namespace}.pidbox"


def read_request(post: Post, codecs: Codecs) -> Request:
    """Understand a request.

    Raises:
        Unreadable: it is none.
    """
    body = _decode(post, codecs)
    reply_to = body.get("reply_to") or {}
    arguments = body.get("arguments") or {}
    destination = body.get("destination")
    expires = post.headers.get("expires")
    if isinstance(destination, str):
        destination = [destination]
    sound = (
        isinstance(body.get("method"), str)
        and isinstance(arguments, dict)
        and all(isinstance(name, str) for name in arguments)
        and isinstance(reply_to, dict)
        and (destination is None or isinstance(destination, list | tuple))
    )
    if not sound:
        raise Unreadable("its parts have the wrong shape")
    return Request(
        method=body["method"], arguments=arguments, destination=destination,
        pattern=_text(body.get("pattern")), matcher=_text(body.get("matcher")),
        ticket=_text(body.get("ticket")), reply_exchange=_text(reply_to.get("exchange")) or "",
        reply_key=_text(reply_to.get("routing_key")) or "",
        expires=float(expires) if isinstance(expires, int | float) and expires else None,
    )  # fmt: skip


def read_reply(post: Post, ticket: str, codecs: Codecs) -> dict[str, Any] | None:
    """An answer by node; None if it answers something else, or comes too late."""
    expires = post.headers.get("expires")
    if post.headers.get("ticket", ticket) != ticket:
        return None
    if isinstance(expires, int | float) and expires and time.time() > expires:
        return None
    try:
        return _decode(post, codecs)
    except Unreadable:
        return None


def _decode(post: Post, codecs: Codecs) -> dict[str, Any]:
    try:
        body = codecs.decode(post.body, post.content_type, post.content_encoding)
    except GreenqError as error:
        raise Unreadable(str(error)) from error
    if not isinstance(body, dict):
        raise Unreadable("it is no mapping")
    return body


def _encode(body: object) -> bytes:
    return json.dumps(body, default=_plain).encode()


def _plain(value: Any) -> Any:
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else repr(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
