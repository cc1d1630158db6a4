"""Turns a call into a message: its queue, its headers, its body. Nothing is sent from here."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from greenq.callheaders import apply_options, iso
from greenq.codecs import Codecs
from greenq.config.schema import Settings
from greenq.errors import InvalidTaskArguments
from greenq.message import Message
from greenq.optionchecks import check_call
from greenq.protocol import EMBED, template
from greenq.request import Request
from greenq.shortrepr import shortrepr

__all__ = ["Composer", "Plan", "new_id"]


def new_id() -> str:
    """A random UUID (version 4) as text, at a fifth of `uuid.uuid4`'s price."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


MOST_PLANS = 10_000
"""Plans that are kept; more are only there where queues or tasks have made-up names, one per customer say."""


@dataclass(slots=True)
class Plan:
    """What all calls of one task to one queue have in common, resolved once.

    Parameters:
        headers: protocol 2's; each message gets a copy.
        expires: seconds after which a call is not begun, if the call says nothing else.
    """

    queue: str
    priority: int
    serializer: str
    compression: str | None
    headers: dict[str, Any]
    expires: float | None


class Composer:
    """Makes messages by the settings.

    Parameters:
        codecs: encodes the bodies.
        declared: by task name, the options that its decorator gave; a name that is not there is unknown here.
    """

    def __init__(self, settings: Settings, codecs: Codecs, declared: Mapping[str, Mapping[str, Any]]) -> None:
        self._settings = settings
        self._codecs = codecs
        self._declared = declared
        self._over = settings.tasks.compress_over
        self._plans: dict[tuple[str, str | None], Plan] = {}
        self.reply_to = ""
        """Where the calls of this process want their results, where a store sends them."""
        self.origin = f"gen{os.getpid()}@{socket.gethostname()}"

    # ── what calls of a task have in common ──────────────────────────────────────────────────────────────

    def plan(self, task: str, queue: str | None = None) -> Plan:
        """The plan for calls of a task.

        Parameters:
            queue: the call's own choice.
        """
        key = (task, queue)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._make_plan(task, queue)
        return plan

    def forget(self, task: str) -> None:
        """Drop the plans of a task whose options have changed."""
        for key in [key for key in self._plans if key[0] == task]:
            del self._plans[key]

    def _make_plan(self, task: str, queue: str | None) -> Plan:
        """Whoever is nearer to the call has the say: call, task, route, queue, configuration."""
        defaults = self._settings.tasks
        declared = self._declared.get(task)
        own: Mapping[str, Any] = declared or {}
        priority = own.get("priority")
        if queue is None:
            queue = own.get("queue")
        if queue is None:
            route = next((r for r in self._settings.routes if fnmatchcase(task, r.match)), None)
            queue = defaults.queue if route is None else route.queue
            if route is not None and priority is None:
                priority = route.priority
        about = self._settings.queues.get(queue)
        if priority is None and about is not None:
            priority = about.priority
        if priority is None:
            priority = defaults.priority
        headers = template(
            task, self.origin, None if declared is None else own.get("ignore_result", defaults.ignore_result)
        )
        if own.get("time_limit") is not None or own.get("soft_time_limit") is not None:
            headers["timelimit"] = [own.get("time_limit"), own.get("soft_time_limit")]
        return Plan(
            queue=queue,
            priority=priority or 0,
            serializer=own.get("serializer") or (about and about.serializer) or defaults.serializer,
            compression=own.get("compression", (about and about.compression) or defaults.compression),
            headers=headers,
            expires=own.get("expires", defaults.expires),
        )

    # ── one message ──────────────────────────────────────────────────────────────────────────────────────

    def compose(
        self,
        task: str,
        args: Any,
        kwargs: Any,
        options: Mapping[str, Any] | None = None,
        request: Request | None = None,
    ) -> Message:
        """Make the message of one call.

        Parameters:
            args, kwargs: what the function gets; None for nothing.
            options: of the call, not yet checked.
            request: of the task that sends it, if one does.

        Raises:
            InvalidOption: there is no such option, or its value is wrong.
            InvalidTaskArguments: `args` is not a list or tuple, or `kwargs` no mapping with strings as keys.
            EncodeError: the serializer can't carry the arguments, or the body is too large.
        """
        if options:
            return self._compose_with(task, args, kwargs, check_call(options, f"call of {task}"), request)
        plan = self._plans.get((task, None)) or self.plan(task)
        headers = plan.headers.copy()
        headers["id"] = headers["root_id"] = id = new_id()
        if request is not None:
            headers["root_id"] = request.root_id or request.id
            headers["parent_id"] = request.id
        if plan.expires is not None:
            headers["expires"] = iso(time.time() + plan.expires)
        return self._finish(
            plan.queue, headers, args, kwargs, plan.serializer, plan.compression,
            {"correlation_id": id, "reply_to": self.reply_to}, plan.priority, None,
        )  # fmt: skip

    def _compose_with(
        self, task: str, args: Any, kwargs: Any, options: dict[str, Any], request: Request | None
    ) -> Message:
        """The same for a call with options of its own, all checked."""
        plan = self.plan(task, options.get("queue"))
        headers = plan.headers.copy()
        headers["id"] = id = options.get("task_id") or new_id()
        headers["root_id"] = id
        if request is not None:
            headers["root_id"] = request.root_id or request.id
            headers["parent_id"] = request.id
        due = apply_options(headers, options, plan.expires)
        return self._finish(
            plan.queue, headers, args, kwargs,
            options.get("serializer", plan.serializer), options.get("compression", plan.compression),
            {"correlation_id": id, "reply_to": options.get("reply_to", self.reply_to)},
            options.get("priority", plan.priority), due,
        )  # fmt: skip

    def _finish(
        self,
        queue: str,
        headers: dict[str, Any],
        args: Any,
        kwargs: Any,
        serializer: str,
        compression: str | None,
        properties: dict[str, Any],
        priority: int,
        due: float | None,
        embed: dict[str, Any] = EMBED,
    ) -> Message:
        if args:
            if type(args) is not tuple and type(args) is not list:
                raise InvalidTaskArguments(
                    f"call of {headers['task']}: args must be a list or tuple, not {type(args).__name__}"
                )
            if headers["argsrepr"] == "()":
                headers["argsrepr"] = shortrepr(args)
        if kwargs:
            _check_kwargs(headers["task"], kwargs)
            if headers["kwargsrepr"] == "{}":
                headers["kwargsrepr"] = shortrepr(kwargs)
        encoded = self._codecs.encode((args or (), kwargs or {}, embed), serializer, compression, self._over)
        if encoded.compression is not None:
            headers["compression"] = encoded.compression
        return Message(
            queue,
            headers,
            encoded.body,
            encoded.content_type,
            encoded.content_encoding,
            properties,
            priority,
            due,
        )

    def compose_again(self, request: Request, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Message:
        """Make the message that runs a running call once more: the same id, one retry more.

        Parameters:
            args, kwargs: None to keep what it has now; then its body travels on as it came.
            options: of `Task.retry`, checked.
        """
        before = request.message
        plan = self.plan(request.task, options.get("queue") or (before.queue if before is not None else None))
        headers = {key: value for key, value in request.fields.items() if key not in _BROKERS_OWN}
        headers["retries"] = request.retries + 1
        headers["eta"] = None
        due = apply_options(headers, options, None)
        priority = options.get("priority", before.priority if before is not None else plan.priority)
        properties = {
            "correlation_id": request.id,
            "reply_to": options.get("reply_to", request.reply_to or ""),
        }
        recoded = "serializer" in options or "compression" in options
        if (
            before is not None
            and args is None
            and kwargs is None
            and not recoded
            and "task" in before.headers
        ):
            return Message(
                plan.queue, headers, before.body, before.content_type, before.content_encoding,
                properties, priority, due,
            )  # fmt: skip
        headers.pop("compression", None)
        if args is not None:
            headers["argsrepr"] = "()"
        if kwargs is not None:
            headers["kwargsrepr"] = "{}"
        return self._finish(
            plan.queue, headers,
            request.args if args is None else args, request.kwargs if kwargs is None else kwargs,
            options.get("serializer", plan.serializer), options.get("compression", plan.compression),
            properties, priority, due, request.embed,
        )  # fmt: skip


_BROKERS_OWN = frozenset({
    "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
    "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
})  # fmt: skip
"""RabbitMQ adds these to dead letters, and drops a message that has them as part of a cycle."""


def _check_kwargs(task: str, kwargs: Any) -> None:
    if not isinstance(kwargs, Mapping):
        raise InvalidTaskArguments(f"call of {task}: kwargs must be a mapping, not {type(kwargs).__name__}")
    for name in kwargs:
        if type(name) is not str:
            raise InvalidTaskArguments(
                f"call of {task}: kwargs has the key {name!r:.80}, which is not a string"
            )
