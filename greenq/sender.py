"""What an application is to those that only send: settings, codecs, broker, results; opened when needed."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from greenq.asyncresult import AsyncResult
from greenq.brokers import open as open_broker
from greenq.brokers.base import Broker
from greenq.codecs import Codecs
from greenq.composer import Composer
from greenq.config import Configuration, load
from greenq.config.schema import Settings
from greenq.control.client import Control
from greenq.deadletters import DeadLetters
from greenq.errors import AppError, BrokerError, GreenqError
from greenq.events.clock import Clock
from greenq.events.sent import SentEvents
from greenq.message import READY_STATES, Message
from greenq.publishsignals import tell_after
from greenq.request import Request, current
from greenq.results import open as open_store
from greenq.results.base import ResultStore
from greenq.resultset import result_from_tuple
from greenq.routing import Router, is_plain, rules_of
from greenq.signals import after_task_publish
from greenq.sqlite.address import anchored
from greenq.throttling.desk import Desk, Queues

__all__ = ["BATCH", "Sender", "newest_app"]

BATCH = 1000
"""Messages that are handed to the broker at once."""


class Sender:
    """Sends calls by name; `GreenQ` adds the tasks.

    Attributes:
        tasks: the registered tasks by name; none, where only names are known.

    Parameters:
        main: the name of tasks' modules that run as ``__main__``.
        config: a path, a mapping, or None for ``GREENQ_CONFIG`` or ``./greenq.yaml``.
        settings: sections of the configuration; they go before those of `config`.

    Raises:
        ConfigError: the configuration has a mistake.
    """

    tasks: Mapping[str, Any] = {}
    _beneath: tuple[str, Mapping[str, Any]] | None = None
    """What takes the place of the defaults, and where that comes from."""

    def __init__(
        self, main: str | None = None, config: str | Path | Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        self.main = main
        self._path = None if config is None or isinstance(config, Mapping) else Path(config)
        given = config if isinstance(config, Mapping) else {}
        self._code = {**given, **settings}
        routes = self._code.get("routes")
        self._rules = [] if is_plain(routes) else rules_of(self._code.pop("routes", None))
        self._declared: dict[str, dict[str, Any]] = {}
        self._broker: Broker | None = None
        self._results: ResultStore | None = None
        self._opened = False
        self._lock = threading.Lock()
        self.clock = Clock()
        self.control = Control(self)
        self.throttling = Desk(self._has_ended)
        self._configure({})
        self.number = next(_numbers)
        _all.add(self)

    def _configure(self, overrides: Mapping[str, Any]) -> None:
        self.config: Configuration = load(
            self._path, code=self._code, overrides=overrides, beneath=self._beneath
        )
        settings = self.config.settings
        self.settings: Settings = settings
        self._located = _located(settings)
        self.throttling.configure(self._located)
        self.overrides = overrides
        self.codecs = Codecs(
            settings.accept, settings.serializers, settings.compressions, settings.tasks.max_body
        )
        self.codecs.check(settings.tasks.serializer, settings.tasks.compression)
        self._prepare_records(settings)
        told = settings.events
        patience = settings.broker.publish_timeout
        self.sent = (
            SentEvents(lambda: self.broker, self.clock, told.exchange, patience) if told.sent else None
        )
        self.router = Router(self._rules, settings.routes, self._find_task)
        self.composer = self._composer()

    def _composer(self) -> Composer:
        return Composer(self.settings, self.codecs, self._declared, self.router, self._exchanges)

    def _exchanges(self) -> tuple[str, ...]:
        return self.broker.guarantees.exchanges

    def _find_task(self, name: str) -> object:
        """The task of a name, for those that decide where its calls go; None where tasks are not known."""
        return None

    def _prepare_records(self, settings: Settings) -> None:
        keep = settings.results
        self._replies = keep.url is not None and keep.url.startswith("rpc")
        if keep.url is None:
            return
        self.codecs.check(keep.serializer, keep.compression)
        probe = self.codecs.encode({}, keep.serializer)
        self._record_type = (probe.content_type, probe.content_encoding)

    def override(self, overrides: Mapping[str, Any], config: str | Path | None = None) -> None:
        """Resolve the settings again, the command line's options before all else.

        Parameters:
            overrides: as `greenq.config.load` takes them.
            config: the file that the command line names instead of the one that the code may name.

        Raises:
            ConfigError: one of them is wrong.
            AppError: the broker or the result store is open already.
        """
        if self._broker is not None or self._opened:
            raise AppError(
                "the configuration cannot change any more: the application has used its broker or its "
                "results while it was imported. Send no task at import time"
            )
        if config is not None:
            self._path = Path(config)
        self._configure(overrides)

    # ── opened when needed ───────────────────────────────────────────────────────────────────────────────

    @property
    def broker(self) -> Broker:
        """The broker; opened at first use."""
        broker = self._broker
        if broker is None:
            with self._lock:
                broker = self._broker
                if broker is None:
                    broker = self._broker = open_broker(self._located)
        return broker

    @property
    def results(self) -> ResultStore | None:
        """The result store, or None if no results are kept; opened at first use."""
        if not self._opened:
            with self._lock:
                if not self._opened:
                    if self.settings.results.url is not None:
                        self._results = open_store(self._located, self._encode_record, self._decode_record)
                    self._opened = True
        return self._results

    @property
    def dead(self) -> DeadLetters:
        """The messages that were given up: list, replay or purge them."""
        return DeadLetters(lambda: self.broker, lambda: self.results)

    @property
    def queues(self) -> Queues:
        """Pause queues for all workers, and resume them."""
        return Queues(self.throttling)

    @property
    def result_timeout(self) -> float:
        """Seconds that a call to the result store may take."""
        return self.settings.results.timeout

    @property
    def result_expires(self) -> float | None:
        """Seconds that results are kept; None for ever."""
        return self.settings.results.expires

    def close(self) -> None:
        """Let go of connections and files; using the application again opens them again."""
        with self._lock:
            broker, self._broker = self._broker, None
            results, self._results, self._opened = self._results, None, False
        if broker is not None:
            broker.close()
        if results is not None:
            results.close()
        self.throttling.close()

    def _after_fork(self) -> None:
        """A child must not use its parent's connections, nor its process id."""
        self._lock = threading.Lock()
        self._broker = self._results = None
        self._opened = False
        self.throttling.after_fork()
        self.composer = self._composer()

    # ── the bytes of a result record ─────────────────────────────────────────────────────────────────────

    def _encode_record(self, record: Any) -> bytes:
        keep = self.settings.results
        encoded = self.codecs.encode(record, keep.serializer, keep.compression, keep.compress_over)
        if encoded.compression is None:
            return encoded.body
        return _COMPRESSED + encoded.compression.encode() + b"\n" + encoded.body

    def _decode_record(self, payload: bytes) -> Any:
        compression = None
        if payload.startswith(_COMPRESSED):
            head, _, payload = payload.partition(b"\n")
            compression = head[len(_COMPRESSED) :].decode("ascii", "replace")
        return self.codecs.decode(payload, *self._record_type, compression)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def send(self, task: str, args: Any, kwargs: Any, options: Mapping[str, Any] | None) -> AsyncResult[Any]:
        """Send one call; what `Task.delay`, `Task.apply_async` and `send_task` come down to.

        Raises:
            PublishError: the broker did not take it (`PublishTimeout`: it may have arrived).
            BrokerUnreachable: nobody answers.
            InvalidOption, InvalidTaskArguments, EncodeError: see `Composer.compose`.
            AlreadyQueued: it is unique, and another such task has not ended.
        """
        request = current.get()
        if self._replies:
            self.listen()
        message = self.composer.compose(task, args, kwargs, options, request)
        if self.throttling.unique or options:
            holder = self._hold(message, args, kwargs, options)
            if holder is not None:
                return self._result_for(holder, message, request, options)
        try:
            problem = self.broker.publish((message,), self.settings.broker.publish_timeout)[0]
        except BrokerError as error:
            self.throttling.give_back([(message, error)])
            raise
        if problem is not None:
            self.throttling.give_back([(message, problem)])
            raise problem
        if after_task_publish.receivers:
            tell_after(message, self.codecs)
        if self.sent is not None:
            self.sent.tell((message,))
        return self._result_of(message, request, options)

    def _hold(
        self, message: Message, args: Any, kwargs: Any, options: Mapping[str, Any] | None
    ) -> str | None:
        """If a call is unique, take its key; the id of the task whose result is its own, if there is one."""
        name = message.headers["task"]
        if not self.throttling.concerns(name, options):
            return None
        task = self.tasks.get(name)
        # Of a task that takes many calls at once no call has the function's own arguments.
        fn = None if task is None or task.options.batch is not None else task.run
        return self.throttling.take(message, fn, args, kwargs, options)

    def _has_ended(self, id: str) -> bool:
        """Whether a task's end is recorded, as far as can be known."""
        store = self.results
        if store is None or store.reply_to is not None:
            return False
        try:
            found = store.get([id], self.settings.results.timeout).get(id)
        except GreenqError:
            return False
        return found is not None and found.state in READY_STATES

    def listen(self) -> None:
        """Be ready for replies before a call is sent that will have one, where results are sent and not kept.

        Raises:
            ResultStoreError: the store fails.
        """
        if self._replies and self.results is not None:
            self.composer.reply_to = self.results.reply_to or ""

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish composed messages, a thousand at a time.

        Raises:
            PublishError: the broker did not take one of them; what came before its batch is sent.
            BrokerUnreachable: nobody answers.
        """
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            for problem in self.broker.publish(batch, self.settings.broker.publish_timeout):
                if problem is not None:
                    raise problem
            if after_task_publish.receivers:
                for message in batch:
                    tell_after(message, self.codecs)
            if self.sent is not None:
                self.sent.tell(batch)

    @property
    def reply_to(self) -> str:
        """Where this process wants its results, where they are sent and not kept; empty otherwise."""
        self.listen()
        return self.composer.reply_to

    def keeps_trail(self, task: str) -> bool:
        """Whether the results of what a task sends are stored with its own."""
        return bool(self._declared.get(task, {}).get("trail", True))

    def result_from_tuple(self, entry: Any) -> Any:
        """The result that a stored record names, as ``as_tuple`` writes it."""
        return result_from_tuple(entry, self)

    def _result_of(
        self, message: Message, request: Request | None, options: Mapping[str, Any] | None
    ) -> AsyncResult[Any]:
        return self._result_for(message.headers["id"], message, request, options)

    def _result_for(
        self, id: str, message: Message, request: Request | None, options: Mapping[str, Any] | None
    ) -> AsyncResult[Any]:
        """The result of a task that stands for the call of a message."""
        result: AsyncResult[Any] = AsyncResult(id, self, None, bool(message.headers["ignore_result"]))
        if (
            request is not None
            and (options is None or options.get("add_to_parent", True))
            and self.keeps_trail(request.task)
        ):
            request.children.append(result)
        return result


def _located(settings: Settings) -> Settings:
    """The settings with addresses that mean the same after a task has changed the working directory."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return settings
    broker, results, throttling = settings.broker, settings.results, settings.throttling
    return replace(
        settings,
        broker=replace(broker, url=anchored(broker.url, here)),
        results=replace(results, url=results.url and anchored(results.url, here)),
        throttling=replace(throttling, url=throttling.url and anchored(throttling.url, here)),
    )


_COMPRESSED = b"greenq/"
"""Begins a compressed record, before the compression's MIME type and a line feed. Celery never compresses."""

_all: weakref.WeakSet[Sender] = weakref.WeakSet()


_numbers = count()


def newest_app() -> Sender | None:
    """The application of this process that was made last; None if there is none."""
    return max(list(_all), key=lambda app: app.number, default=None)


def _after_fork() -> None:
    for sender in list(_all):
        sender._after_fork()


os.register_at_fork(after_in_child=_after_fork)
