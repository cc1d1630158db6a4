"""What is told by signals of calls that are sent.

Source: celery/app/amqp.py (``send_task_message``): what each signal is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenq.codecs import Codecs
from greenq.errors import GreenqError
from greenq.message import Message
from greenq.optionchecks import check_headers
from greenq.protocol import HEADERS
from greenq.signals import after_task_publish, before_task_publish

__all__ = ["tell_after", "tell_before"]


def tell_before(
    queue: str, headers: dict[str, Any], properties: dict[str, Any], args: Any, kwargs: Any, embed: Any
) -> tuple[Any, Any, Any]:
    """A message is about to be made of this; receivers may change headers, properties and arguments in place.

    Returns:
        The body's parts, none of them shared with other messages.

    Raises:
        InvalidOption: a receiver has added a header that not every broker can carry.
    """
    body = (args or (), dict(kwargs or {}), dict(embed))
    before_task_publish.send(
        headers["task"], body=body, exchange="", routing_key=queue, declare=[], headers=headers,
        properties=properties, retry_policy=None,
    )  # fmt: skip
    check_headers(_added(headers), f"call of {headers['task']}, in a receiver of before_task_publish")
    return body


def _added(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name not in HEADERS and name != "compression"}


def tell_after(message: Message, codecs: Codecs) -> None:
    """The broker has confirmed this message."""
    headers = message.headers
    try:
        body = codecs.decode(
            message.body, message.content_type, message.content_encoding, headers.get("compression")
        )
    except GreenqError:
        body = message.body  # this process sends what it does not accept itself
    after_task_publish.send(
        headers["task"], headers=headers, body=body, exchange=message.exchange,
        routing_key=message.routing_key or message.queue,
    )  # fmt: skip
