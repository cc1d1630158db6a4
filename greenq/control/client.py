"""Ask workers and tell them things: ``app.control``.

    >>> from greenq import GreenQ
    >>> app = GreenQ("shop", broker="memory://shop", results="memory://shop")
    >>> app.control.ping(timeout=0.1)  # nobody is there
    []

Source: celery/app/control.py: the names, arguments and answers of every method.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from greenq.brokers.base import Broker
from greenq.codecs import Codecs
from greenq.config.schema import Settings
from greenq.control.inspection import Inspect
from greenq.control.revocations import as_member
from greenq.control.wire import Request, exchange_of, read_reply, reply_exchange_of
from greenq.errors import BrokerError
from greenq.events.clock import Clock
from greenq.radio import Radio

__all__ = ["Control"]

Destination = Sequence[str] | None
Replies = list[dict[str, Any]]

LONGEST = 60.0
"""Seconds after which no more answers are waited for, though they keep coming."""


class Asker(Protocol):
    """The part of an application that is needed here."""

    settings: Settings
    codecs: Codecs
    clock: Clock

    @property
    def broker(self) -> Broker:
        """See `Sender.broker`."""


class Control:
    """What can be asked of an application's workers, and what they can be told.

    Every method that changes something takes ``destination``, the names of the nodes that are meant (all, if
    it is None), and ``reply=True`` with ``timeout`` in seconds to wait for answers.

    Parameters:
        app: whose broker and settings are used.
    """

    def __init__(self, app: Asker) -> None:
        self._app = app
        self._heard_by: tuple[Broker, Radio] | None = None

    def _radio(self) -> Radio:
        broker = self._app.broker
        if self._heard_by is None or self._heard_by[0] is not broker:
            radio = broker.radio()
            if radio is None:
                raise BrokerError(
                    "this broker carries no remote control: use Redis, RabbitMQ or the embedded database"
                )
            self._heard_by = broker, radio
        return self._heard_by[1]

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Destination = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra: Any,
    ) -> Replies | None:
        """Send a command to workers.

        Parameters:
            command: its name.
            arguments: its arguments by name; `extra` adds more.
            reply: wait for answers, and return them.
            timeout: seconds of silence after which no more answers are waited for.
            limit: how many answers to wait for; by default as many as there are destinations.
            callback: called with each answer as it comes.
            pattern, matcher: which nodes are meant, by ``"glob"`` or ``"pcre"``.
            connection, channel: allowed for Celery's sake and without effect.

        Returns:
            A list of ``{node: answer}``; None without `reply`.

        Raises:
            BrokerError: the broker fails, or carries no remote control.
            ValueError: `destination` is no list.
        """
        if isinstance(destination, str) or not (
            destination is None or isinstance(destination, list | tuple | set | frozenset)
        ):
            raise ValueError(f"destination must be a list of nodes' names, not {destination!r:.80}")
        namespace = self._app.settings.control.namespace
        exchange = exchange_of(namespace)
        ticket, key = (str(uuid.uuid4()), str(uuid.uuid4())) if reply else (None, "")
        request = Request(
            method=command, arguments={**(arguments or {}), **extra},
            destination=list(destination) if destination is not None else None, pattern=pattern,
            matcher=matcher or ("glob" if pattern else None), ticket=ticket,
            reply_exchange=reply_exchange_of(namespace) if reply else "", reply_key=key,
            expires=time.time() + timeout if reply else None,
        )  # fmt: skip
        radio, patience = self._radio(), self._app.settings.broker.publish_timeout
        if not reply:
            radio.announce([request.post(exchange, self._app.clock)], patience)
            return None
        box = radio.box(request.reply_exchange, key, patience)
        try:
            radio.announce([request.post(exchange, self._app.clock)], patience)
            return self._collect(box.next, ticket or "", timeout, limit or len(destination or ()), callback)
        finally:
            box.close()

    def _collect(
        self,
        next_post: Callable[[float], Any],
        ticket: str,
        timeout: float,
        limit: int,
        callback: Callable[[dict[str, Any]], Any] | None,
    ) -> Replies:
        replies: Replies = []
        end = time.monotonic() + max(timeout, LONGEST)
        while (not limit or len(replies) < limit) and time.monotonic() < end:
            post = next_post(timeout)
            if post is None:
                break
            self._app.clock.adjust(post.headers.get("clock"))
            answer = read_reply(post, ticket, self._app.codecs)
            if answer is not None:
                replies.append(answer)
                if callback is not None:
                    callback(answer)
        return replies

    def inspect(
        self,
        destination: Destination = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        connection: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Inspect:
        """What only looks: ``app.control.inspect().active()``; the arguments are those of `broadcast`."""
        return Inspect(self, destination, timeout, callback, limit, pattern, matcher)

    def ping(self, destination: Destination = None, timeout: float = 1.0, **options: Any) -> Replies:
        """Ask who is there: a list of ``{node: {"ok": "pong"}}``."""
        return self.broadcast("ping", {}, destination, reply=True, timeout=timeout, **options) or []

    # ── tasks ────────────────────────────────────────────────────────────────────────────────────────────

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Destination = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Keep tasks from being run; workers that start later know of it where the broker remembers it.

        Parameters:
            task_id: an id, or several.
            terminate: also end those that run already, as `signal` would.
        """
        ids = [task_id] if isinstance(task_id, str) else [str(one) for one in task_id]
        if destination is None:
            self._remember([as_member(id) for id in ids])
        arguments = {"task_id": ids, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **options)

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: Destination = None,
        signal: str | int = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Keep tasks from being run, and end those that run, as `signal` would."""
        return self.revoke(task_id, destination, True, signal, **options)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: Destination = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **options: Any,
    ) -> Replies | None:
        """Keep all tasks from being run that carry one of these stamps; as `revoke`."""
        stamps = {
            name: [str(one) for one in (value if isinstance(value, list | tuple | set) else [value])]
            for name, value in headers.items()
        }
        if destination is None:
            self._remember([as_member((name, one)) for name, values in stamps.items() for one in values])
        arguments = {"headers": stamps, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **options)

    def _remember(self, members: Sequence[str]) -> None:
        radio, settings = self._radio(), self._app.settings
        if radio.remembers and members:
            kept = settings.control
            radio.remember(members, kept.revoked_for, kept.revoked_most, settings.broker.publish_timeout)

    def rate_limit(
        self, task_name: str, rate_limit: str | float, destination: Destination = None, **options: Any
    ) -> Replies | None:
        """Start no more calls of a task than so many in a time: ``"10/m"``; 0 ends the limit."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments, destination, **options)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Destination = None,
        **options: Any,
    ) -> Replies | None:
        """Give a task other time limits, in seconds, from its next run on."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **options)

    # ── queues ───────────────────────────────────────────────────────────────────────────────────────────

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Destination = None,
        **more: Any,
    ) -> Replies | None:
        """Let workers take from this queue too."""
        arguments = {
            "queue": queue, "exchange": exchange, "exchange_type": exchange_type,
            "routing_key": routing_key, **(options or {}),
        }  # fmt: skip
        return self.broadcast("add_consumer", arguments, destination, **more)

    def cancel_consumer(self, queue: str, destination: Destination = None, **options: Any) -> Replies | None:
        """Let workers take from this queue no more."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **options)

    def purge(self, connection: Any = None) -> int:
        """Drop what waits in the queues that workers take from; how many messages it was."""
        return sum(self._app.broker.purge(queue) for queue in self._app.settings.worker.queues)

    discard_all = purge

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────

    def enable_events(self, destination: Destination = None, **options: Any) -> Replies | None:
        """Have workers tell what happens to tasks."""
        return self.broadcast("enable_events", {}, destination, **options)

    def disable_events(self, destination: Destination = None, **options: Any) -> Replies | None:
        """Have them tell it no more."""
        return self.broadcast("disable_events", {}, destination, **options)

    def heartbeat(self, destination: Destination = None, **options: Any) -> Replies | None:
        """Have workers send an event now that says they are alive."""
        return self.broadcast("heartbeat", {}, destination, **options)

    def pool_grow(self, n: int = 1, destination: Destination = None, **options: Any) -> Replies | None:
        """Let so many more tasks run at once."""
        return self.broadcast("pool_grow", {"n": n}, destination, **options)

    def pool_shrink(self, n: int = 1, destination: Destination = None, **options: Any) -> Replies | None:
        """Let so many fewer tasks run at once."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **options)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Destination = None,
        **options: Any,
    ) -> Replies | None:
        """Have workers' processes replaced; a new process imports all modules anew, whatever is named."""
        arguments = {"modules": list(modules or ()), "reload": reload}
        return self.broadcast("pool_restart", arguments, destination, **options)

    def autoscale(
        self, max: int, min: int, destination: Destination = None, **options: Any
    ) -> Replies | None:
        """Change the bounds between which workers choose how many tasks run at once."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **options)

    def shutdown(self, destination: Destination = None, **options: Any) -> Replies | None:
        """Stop workers; running tasks finish."""
        return self.broadcast("shutdown", {}, destination, **options)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Have one of the workers do something: with the topic ``task``, send the call of a signature."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action})
