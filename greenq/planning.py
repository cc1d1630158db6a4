"""What all calls of one task to one queue have in common: where they go, and how; resolved once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from greenq.config.schema import Settings
from greenq.errors import InvalidOption
from greenq.exchanges import shapes_of
from greenq.message import Message
from greenq.protocol import template
from greenq.request import Request
from greenq.routing import DESTINATION, Router, Rule

__all__ = ["Plan", "Planner"]

MOST_PLANS = 10_000
"""Plans that are kept; more are only there where queues or tasks have made-up names, one per customer say."""


@dataclass(slots=True)
class Plan:
    """What all calls of one task to one queue have in common, resolved once.

    Parameters:
        headers: protocol 2's; each message gets a copy.
        expires: seconds after which a call is not begun, if the call says nothing else.
        exchange, routing_key: where they are sent instead of straight to the queue; empty for the queue.
        urged: somebody has said what priority they have.
        further: options that a route gives them beside these.
        asked: functions that say for each call where it goes.
    """

    queue: str
    exchange: str
    routing_key: str
    priority: int
    urged: bool
    serializer: str
    compression: str | None
    headers: dict[str, Any]
    expires: float | None
    further: dict[str, Any]
    asked: tuple[Rule, ...]


class Planner:
    """Makes plans by the settings and the routes, and keeps them.

    Parameters:
        declared: by task name, the options that its decorator gave; a name that is not there is unknown here.
        origin: who sends, as messages say it.
        router: says where calls go that do not say it themselves; None for what the settings say.
        exchanges: the types of exchange that the broker has; asked before anything is sent to one.
    """

    def __init__(
        self,
        settings: Settings,
        declared: Mapping[str, Mapping[str, Any]],
        origin: str,
        router: Router | None = None,
        exchanges: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._settings = settings
        self._declared = declared
        self._origin = origin
        self._router = Router((), settings.routes) if router is None else router
        self._exchanges = exchanges
        self._shapes = shapes_of(settings)
        self._inherit = settings.tasks.inherit_priority
        self._default_key = settings.tasks.routing_key or settings.tasks.queue
        self._strict = not settings.tasks.create_missing_queues
        self._able = False
        self.plans: dict[tuple[str, str | None], Plan] = {}
        """By task and queue."""

    def plan(self, task: str, queue: str | None = None) -> Plan:
        """The plan for calls of a task.

        Parameters:
            queue: the call's own choice.
        """
        key = (task, queue)
        plan = self.plans.get(key)
        if plan is None:
            if len(self.plans) >= MOST_PLANS:
                self.plans.clear()
            plan = self.plans[key] = self._make(task, queue)
        return plan

    def forget(self, task: str) -> None:
        """Drop the plans of a task whose options have changed."""
        for key in [key for key in self.plans if key[0] == task]:
            del self.plans[key]

    def _make(self, task: str, queue: str | None) -> Plan:
        """Whoever is nearer to the call has the say: call, task, route, queue, configuration."""
        defaults = self._settings.tasks
        declared = self._declared.get(task)
        own: Mapping[str, Any] = declared or {}
        route, asked = self._router.about(task)
        given: Mapping[str, Any] = {}
        if queue is None:
            given = route
            if any(own.get(name) is not None for name in DESTINATION):
                given, route, asked = own, {}, ()
            queue = given.get("queue")
            if queue is None:
                queue = defaults.queue
            if self._strict and not given.get("exchange"):
                self._require(task, queue)
        else:
            route = {}
        about = self._settings.queues.get(queue)
        of_queue = about.priority if about is not None else None
        priorities = (own.get("priority"), route.get("priority"), of_queue, defaults.priority)
        headers = template(
            task, self._origin, None if declared is None else own.get("ignore_result", defaults.ignore_result)
        )
        if own.get("time_limit") is not None or own.get("soft_time_limit") is not None:
            headers["timelimit"] = [own.get("time_limit"), own.get("soft_time_limit")]
        exchange, key = self.address(queue, given.get("exchange"), given.get("routing_key"))
        return Plan(
            queue=queue,
            exchange=exchange,
            routing_key=key,
            priority=next((one for one in priorities if one is not None), 0),
            urged=own.get("priority") is not None,
            serializer=(
                own.get("serializer") or route.get("serializer") or (about and about.serializer)
                or defaults.serializer
            ),
            compression=own.get(
                "compression",
                route.get("compression") or (about and about.compression) or defaults.compression,
            ),
            headers=headers,
            expires=own.get("expires", defaults.expires),
            further={name: value for name, value in route.items() if name not in _PLANNED},
            asked=asked,
        )  # fmt: skip

    def address(self, queue: str, exchange: str | None, key: str | None) -> tuple[str, str]:
        """Exchange and routing key of messages for a queue; both empty where they go straight to it."""
        shape = self._shapes.get(queue)
        if exchange is None:
            if shape is None or not shape.through:
                return "", ""
            return shape.exchange, key or shape.keys[0]
        own = shape.keys[0] if shape is not None and shape.exchange == exchange else None
        return exchange, key or own or self._default_key

    def send_to(self, message: Message, exchange: str, key: str) -> None:
        """Let an exchange find the queues of a message.

        Raises:
            InvalidOption: the broker has no exchanges.
        """
        if not self._able:
            # Asked only now: a task that is declared must not open the broker.
            if not self._exchanges():
                raise InvalidOption(
                    f"exchange {exchange!r}: this broker has no exchanges: use queue, or RabbitMQ or Redis"
                )
            self._able = True
        message.exchange, message.routing_key = exchange, key

    def _require(self, task: str, queue: str) -> None:
        """Refuse a queue that the configuration does not name, where it must name all.

        Raises:
            InvalidOption: it does not.
        """
        known = [*self._settings.queues, self._settings.tasks.queue]
        if queue not in known:
            raise InvalidOption(
                f"call of {task}: queues has no {queue!r}, and tasks.create_missing_queues is off: "
                f"name it there, or use one of {', '.join(dict.fromkeys(known))}"
            )

    def plan_for(
        self, task: str, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> tuple[Plan, dict[str, Any]]:
        """The plan of a call with options, and these with what its route adds."""
        queue = options.get("queue")
        plan = self.plan(task, queue)
        further: Mapping[str, Any] = plan.further
        if plan.asked and queue is None and "exchange" not in options:
            answer = self._router.ask(plan.asked, task, args, kwargs, options)
            if answer:
                further, queue = answer, answer.get("queue", self._settings.tasks.queue)
                plan = self.plan(task, queue)
        if self._strict and queue is not None and "exchange" not in options:
            self._require(task, queue)
        return plan, {**further, **options} if further else options

    def priority(self, plan: Plan, request: Request | None) -> int:
        """The priority of a call that says none: the running task's that makes it, where it is inherited."""
        if not self._inherit or request is None or request.message is None or plan.urged:
            return plan.priority
        return request.message.priority


_PLANNED = frozenset({*DESTINATION, "priority", "serializer", "compression"})
"""What a plan has of a route's options."""
