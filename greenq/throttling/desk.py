"""What an application does with limits: it knows its tasks' rules, and opens their store when needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from greenq.config.schema import Settings
from greenq.errors import GreenqError, InvalidOption
from greenq.message import Message
from greenq.throttling.base import ThrottleStore
from greenq.throttling.rules import Rules, Unique, unique_of
from greenq.throttling.table import address_of, required
from greenq.throttling.uniqueness import OPTIONS, Uniqueness

__all__ = ["Desk", "Queues"]

log = logging.getLogger("greenq.throttling")


class Desk:
    """The one place where an application's senders and its worker find limits.

    Parameters:
        ended: whether a task's end is recorded.
    """

    def __init__(self, ended: Callable[[str], bool]) -> None:
        self._ended = ended
        self._rules: dict[str, Rules] = {}
        self.unique: dict[str, Unique] = {}
        """What holds for the tasks whose calls are unique by themselves."""
        self._store: ThrottleStore | None = None
        self._lock = threading.Lock()

    def configure(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        self.close()
        self._settings = settings
        self.timeout = settings.throttling.timeout
        self._uniqueness = Uniqueness(lambda: self.store, self._ended, self.timeout)

    def heed(self, task: str, rules: Rules | None) -> None:
        """Note what holds for a task."""
        self._rules.pop(task, None)
        self.unique.pop(task, None)
        if rules is not None:
            self._rules[task] = rules
            if rules.unique is not None:
                self.unique[task] = rules.unique

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def available(self) -> bool:
        """Whether there is a place for limits."""
        return address_of(self._settings) is not None

    @property
    def store(self) -> ThrottleStore:
        """Where limits are kept; opened at first use.

        Raises:
            ConfigError: there is no such place.
        """
        store = self._store
        if store is None:
            with self._lock:
                store = self._store
                if store is None:
                    store = self._store = required(self._settings, self._who())
        return store

    def _who(self) -> str:
        """Who needs it, for the message."""
        names = sorted(self._rules)
        if not names:
            return "pausing a queue"
        return f"what the task {names[0]}{' and others say' if len(names) > 1 else ' says'} of limits"

    def close(self) -> None:
        """Let go of the store; using it again opens it again."""
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def after_fork(self) -> None:
        """A child must not use its parent's connections."""
        self._lock = threading.Lock()
        self._store = None

    # ── unique calls ─────────────────────────────────────────────────────────────────────────────────────

    def concerns(self, task: str, options: Mapping[str, Any] | None) -> bool:
        """Whether a call may be unique."""
        return task in self.unique or (options is not None and not OPTIONS.isdisjoint(options))

    def take(
        self,
        message: Message,
        fn: Callable[..., Any] | None,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
    ) -> str | None:
        """Take the key of a call that may be unique, before it is sent.

        Parameters:
            fn: the task's function, if it is known here.
            options: of the call, checked.

        Returns:
            None if it may be sent, or the id of the task whose result is this call's too.

        Raises:
            AlreadyQueued: another task has the key.
            InvalidOption: the options make no sense together.
            BrokerError: the store of limits fails.
        """
        rule = self._rule_of(message.headers["task"], fn, options)
        return None if rule is None else self._uniqueness.take(message, rule, args or (), kwargs or {})

    def _rule_of(
        self, task: str, fn: Callable[..., Any] | None, options: Mapping[str, Any] | None
    ) -> Unique | None:
        rules = self._rules.get(task)
        given = options or {}
        own = {name: given[name] for name in OPTIONS if given.get(name) is not None}
        if not own:
            return rules.unique if rules is not None else None
        if fn is not None and rules is None:
            raise InvalidOption(
                f"call of {task}: its task says nothing of unique, so its workers would not look for it: "
                "declare it, if only as unique=False"
            )
        declared = rules.declared if rules is not None else {}
        if "unique" not in own and not declared.get("unique"):
            raise InvalidOption(f"call of {task}: {', '.join(sorted(own))} makes sense with unique only")
        return unique_of(task, fn, {**declared, **own}, self._settings.throttling.unique_for)

    def give_back(self, messages: Iterable[tuple[Message, GreenqError]]) -> None:
        """Give back the keys of messages that were not sent, each with its error."""
        for message, problem in messages:
            try:
                self._uniqueness.give_back(message, problem)
            except GreenqError as error:
                log.warning("the key of a call that was not sent is held until its time is over: %s", error)


class Queues:
    """Pauses queues for all workers: ``app.queues.pause("mail")``.

    Parameters:
        desk: the application's.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def pause(self, *names: str) -> None:
        """Let no worker fetch from these queues until they are resumed; what runs goes on.

        Raises:
            ConfigError: there is no place that all workers look at.
            BrokerError: it can't be reached, or refuses.
        """
        for name in names:
            self._desk.store.pause(name, self._desk.timeout)

    def resume(self, *names: str) -> None:
        """Let workers fetch from these queues again."""
        for name in names:
            self._desk.store.resume(name, self._desk.timeout)

    def paused(self) -> frozenset[str]:
        """The queues that are paused; none where nothing can be."""
        if not self._desk.available:
            return frozenset()
        return self._desk.store.paused(self._desk.timeout)
