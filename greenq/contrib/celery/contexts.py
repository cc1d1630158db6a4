"""A run of a task as Celery's `Context`: what ``self.request`` is inside an adopted task.

Source: celery/worker/request.py (``Request.__init__``) and celery/app/trace.py: which fields there are.
"""

from __future__ import annotations

from typing import Any

from celery.app.task import Context  # type: ignore[import-untyped]

from greenq.request import Request

__all__ = ["context_of", "fields_of"]


def context_of(request: Request) -> Context:
    """The context of a request; made once, when it is first asked for."""
    try:
        return request.foreign
    except AttributeError:
        made = request.foreign = Context(fields_of(request))
        # One list: what Celery's code adds to it is stored by greenq.
        made._children = request.children
        return made


def fields_of(request: Request) -> dict[str, Any]:
    """A request as the mapping that Celery makes of a message's headers, properties and body."""
    message = request.message
    properties = dict(message.properties) if message is not None else {}
    if message is not None:
        properties.setdefault("correlation_id", request.id)
        properties["priority"] = message.priority
        properties["delivery_info"] = request.delivery_info
    return {
        **request.fields,
        **request.embed,
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": properties.get("correlation_id"),
        "hostname": request.hostname,
        "delivery_info": request.delivery_info,
        "args": request.args,
        "kwargs": request.kwargs,
        "is_eager": request.is_eager,
        "called_directly": False,
    }
