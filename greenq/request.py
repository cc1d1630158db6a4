"""What a running task can ask about its own call: ``self.request``."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Any

from greenq.message import Message
from greenq.protocol import EMBED, HEADERS, TaskCall

__all__ = ["AGAIN", "Request", "current", "direct", "entering"]

AGAIN = "redelivered"
"""The header of a message that its task gave back; kombu has it, too."""
_OWN = frozenset({*HEADERS, "compression", AGAIN})


class Request:
    """One run of a task, with Celery's field names.

    Made for every message, so it holds references only; most fields are looked up when they are asked for.

    Parameters:
        call: the decoded call.
        message: as it came from the broker; None for a call that was never sent.
        hostname: the name of the worker's node.
        attempts: how often the message was delivered before.
        is_eager: it runs where it was called (`Task.apply`).
        called_directly: it is a plain function call, with no message behind it.
    """

    __slots__ = (
        "_call",
        "_children",
        "args",
        "attempts",
        "began",
        "called_directly",
        "embed",
        "fields",
        "foreign",
        "hostname",
        "id",
        "is_eager",
        "kwargs",
        "max_retries",
        "message",
        "retries",
        "task",
    )

    began: float
    """When it began, by the monotonic clock in seconds; only known where somebody is told of runs."""
    foreign: Any
    """What another library's code sees of it; set by who adopts that library's tasks."""
    logfile = loglevel = None
    """Without meaning here; Celery's old tasks ask for them."""
    utc = True

    def __init__(
        self,
        call: TaskCall,
        message: Message | None = None,
        hostname: str | None = None,
        attempts: int = 0,
        *,
        is_eager: bool = False,
        called_directly: bool = False,
    ) -> None:
        fields = call.headers
        self.fields = fields
        self.id: str = fields["id"]
        self.task: str = fields["task"]
        self.retries: int = fields.get("retries") or 0
        self.args = call.args
        self.kwargs = call.kwargs
        self.message = message
        self.hostname = hostname
        self.attempts = attempts
        self.is_eager = is_eager
        self.called_directly = called_directly
        self.max_retries: int | None = None
        """What `Task.retry(max_retries=…)` gave in this run."""
        self.embed = call.embed
        """The body's third part: callbacks, errbacks, chain and chord; `protocol.EMBED` if there are none."""
        self._call = call
        self._children: list[Any] | None = None

    @classmethod
    def for_direct_call(cls, task: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        """The request of a task that is called like a plain function."""
        return cls(TaskCall(args, kwargs, EMBED, HEADERS | {"task": task}), called_directly=True)

    def __repr__(self) -> str:
        return f"<Request {self.task}[{self.id}] retries={self.retries}>"

    def __getattr__(self, name: str) -> Any:
        """A header of the caller's own: ``request.tenant`` is ``request.headers["tenant"]``, as in Celery."""
        if name not in _SLOTS and name in self.fields:
            return self.fields[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def get(self, name: str, default: Any = None) -> Any:
        """The field of that name, as Celery's method of this name."""
        return getattr(self, name, default)

    # ── who called ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def root_id(self) -> str | None:
        """The id of the first call of the workflow that this one belongs to."""
        return self.fields.get("root_id")

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sent this one."""
        return self.fields.get("parent_id")

    @property
    def origin(self) -> str | None:
        """Who sent it: ``gen<process id>@<host>``."""
        return self.fields.get("origin")

    @property
    def correlation_id(self) -> str | None:
        """As the message's property of that name; the task's id."""
        return self._property("correlation_id") or self.id

    @property
    def reply_to(self) -> str | None:
        """The queue that an rpc result goes to."""
        return self._property("reply_to")

    @property
    def name(self) -> str:
        """The task's name, as Celery's receivers of signals about messages call it."""
        return self.task

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that this one sent."""
        if self._children is None:
            self._children = []
        return self._children

    def children_as_tuples(self) -> list[Any]:
        """The children as a result record lists them."""
        return [] if self._children is None else [child.as_tuple() for child in self._children]

    def result_extra(self) -> dict[str, Any]:
        """What a result record says of the call beside its end, in Celery's keys."""
        extra = {}
        if self.group is not None:
            extra["group_id"] = self.group
        if self.parent_id is not None:
            extra["parent_id"] = self.parent_id
        return extra

    @property
    def pid(self) -> int:
        """The id of the process that runs it."""
        return os.getpid()

    # ── how it is shown ──────────────────────────────────────────────────────────────────────────────────

    @property
    def shadow(self) -> str | None:
        """A name that logs show instead of the task's."""
        return self.fields.get("shadow")

    @property
    def argsrepr(self) -> str | None:
        """The positional arguments as text, cut short; what the caller wanted shown of them."""
        return self.fields.get("argsrepr")

    @property
    def kwargsrepr(self) -> str | None:
        """The keyword arguments as text, cut short."""
        return self.fields.get("kwargsrepr")

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def eta(self) -> str | None:
        """Not to run before this time, ISO 8601."""
        return self.fields.get("eta")

    @property
    def expires(self) -> str | None:
        """Not to begin after this time, ISO 8601."""
        return self.fields.get("expires")

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """The caller's hard and soft limit in seconds."""
        return self._call.time_limit, self._call.soft_time_limit

    @property
    def time_limit(self) -> float | None:
        """The caller's hard limit in seconds."""
        return self._call.time_limit

    @property
    def soft_time_limit(self) -> float | None:
        """The caller's soft limit in seconds."""
        return self._call.soft_time_limit

    # ── workflow ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def group(self) -> str | None:
        """The id of the group that it is a member of."""
        return self.fields.get("group")

    @property
    def taskset(self) -> str | None:
        """Celery's old name of `group`."""
        return self.group

    @property
    def group_index(self) -> int | None:
        """Its place in that group."""
        return self.fields.get("group_index")

    @property
    def callbacks(self) -> list[Any] | None:
        """The signatures that are sent when it succeeds."""
        return self.embed.get("callbacks")

    @property
    def errbacks(self) -> list[Any] | None:
        """The signatures that are sent when it fails."""
        return self.embed.get("errbacks")

    @property
    def chain(self) -> list[Any] | None:
        """The signatures that follow it, the next one last."""
        return self.embed.get("chain")

    @property
    def chord(self) -> dict[str, Any] | None:
        """The signature that runs when its whole group has."""
        return self.embed.get("chord")

    @property
    def replaced_task_nesting(self) -> int:
        """How often it stands in for another task."""
        return self.fields.get("replaced_task_nesting") or 0

    def as_execution_options(self) -> dict[str, Any]:
        """The call's own options, as `Task.apply_async` takes them."""
        hard, soft = self.timelimit
        options = {
            "task_id": self.id, "root_id": self.root_id, "parent_id": self.parent_id,
            "group_id": self.group, "group_index": self.group_index, "shadow": self.shadow,
            "chord": self.chord, "chain": self.chain, "link": self.callbacks, "link_error": self.errbacks,
            "expires": self.expires, "time_limit": hard, "soft_time_limit": soft, "headers": self.headers,
            "retries": self.retries, "reply_to": self.reply_to, "ignore_result": self.ignore_result,
            "replaced_task_nesting": self.replaced_task_nesting, "origin": self.origin,
        }  # fmt: skip
        names = self.stamped_headers
        if names is not None and self.stamps is not None:
            options |= {"stamped_headers": names}
            options |= {name: value for name, value in self.stamps.items() if name in names}
        return options

    # ── the message ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def headers(self) -> dict[str, Any] | None:
        """The caller's own headers, None if there are none."""
        return {key: value for key, value in self.fields.items() if key not in _OWN} or None

    @property
    def stamped_headers(self) -> list[str] | None:
        """The names of the stamps."""
        return self.fields.get("stamped_headers")

    @property
    def stamps(self) -> dict[str, Any] | None:
        """The stamps by name."""
        return self.fields.get("stamps")

    @property
    def ignore_result(self) -> bool | None:
        """Whether the caller wants no result; None if it did not say."""
        return self.fields.get("ignore_result")

    @property
    def properties(self) -> dict[str, Any] | None:
        """The message's properties, as AMQP names them."""
        return self.message.properties if self.message is not None else None

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Where the message came from: ``exchange``, ``routing_key``, ``priority``, ``redelivered``."""
        if self.message is None:
            return {"is_eager": self.is_eager, "exchange": None, "routing_key": None, "priority": None}
        return {
            "exchange": "",
            "routing_key": self.message.queue,
            "priority": self.message.priority,
            "redelivered": self.attempts > 0 or bool(self.fields.get(AGAIN)),
        }

    def _property(self, name: str) -> str | None:
        return self.message.properties.get(name) if self.message is not None else None


_SLOTS = frozenset(Request.__slots__)

current: ContextVar[Request | None] = ContextVar("greenq_request", default=None)
"""The request of the message that this context runs; None outside a worker's task and `Task.apply`."""

direct: ContextVar[Request | None] = ContextVar("greenq_direct_call", default=None)
"""The request of the innermost task that was called like a plain function in this context."""

entering: ContextVar[Request | None] = ContextVar("greenq_entering", default=None)
"""The request whose task's own ``__call__`` is about to be called, and has not come to the function yet."""
