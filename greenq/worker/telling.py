"""What is told by signals of messages that no task was run for."""

from __future__ import annotations

from typing import Any

from greenq.app import GreenQ
from greenq.errors import MessageError, UnknownTask
from greenq.message import Delivery
from greenq.request import Request
from greenq.signals import task_rejected, task_revoked, task_unknown
from greenq.task import Task

__all__ = ["tell_expired", "tell_revoked", "tell_unreadable"]


def tell_unreadable(app: GreenQ, delivery: Delivery, error: MessageError) -> None:
    """A message names no known task, or cannot be understood: it is about to be dead-lettered."""
    message = delivery.message
    if isinstance(error, UnknownTask) and message is not None:
        if task_unknown.receivers:
            headers = message.headers
            task_unknown.send(app, message=message, exc=error, name=headers.get("task"), id=headers.get("id"))
    elif task_rejected.receivers:
        task_rejected.send(app, message=message, exc=error)


def tell_revoked(task: Task[Any, Any], request: Request, signum: int | None) -> None:
    """A call is not run as it was revoked, or was ended for that as by this signal."""
    if task_revoked.receivers:
        task_revoked.send(task, request=request, terminated=signum is not None, signum=signum, expired=False)


def tell_expired(task: Task[Any, Any], request: Request) -> None:
    """A call came too late to be run."""
    if task_revoked.receivers:
        task_revoked.send(task, request=request, terminated=False, signum=None, expired=True)
