"""The application: configuration, tasks, and everything that is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar, Unpack

from greenq.asyncresult import AsyncResult
from greenq.call import Call
from greenq.canvas.owners import AppCanvas
from greenq.errors import AlreadyQueued, BrokerError, GreenqError, PartlySent, SoftTimeLimitExceeded
from greenq.gathering import as_completed, gather
from greenq.message import Message
from greenq.middleware import Middleware, resolve
from greenq.optionchecks import check_name
from greenq.options import CallOptions
from greenq.publishsignals import tell_after
from greenq.registry import Registry
from greenq.request import current
from greenq.sender import BATCH
from greenq.shared import join
from greenq.signals import after_task_publish

__all__ = ["GreenQ"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_Result = AsyncResult
"""The class, in signatures of a class that has a method of its name."""


class GreenQ(AppCanvas, Registry):
    """An application.

        >>> app = GreenQ("shop", broker="memory://shop", results="memory://shop")
        >>> @app.task
        ... def add(x: int, y: int) -> int:
        ...     return x + y
        >>> add(1, 2)
        3

    Parameters:
        main: the name of tasks' modules that run as ``__main__``.
        config: a path, a mapping, or None for ``GREENQ_CONFIG`` or ``./greenq.yaml``.
        middleware: what is done around every run, outermost first; what the configuration names follows.
        shared: have the tasks that libraries declare with `shared_task`.
        settings: sections of the configuration (``worker={"lease": "2s"}``); ``broker`` and ``results`` may
            be the address alone. They go before those of `config`. ``routes`` and ``annotations`` may also
            have functions, and the forms that Celery's ``task_routes`` and ``task_annotations`` have.

    Attributes:
        settings: the resolved configuration.
        config: the same with the origin of each value.
        tasks: the registered tasks by name.
        codecs: encodes and decodes as the settings say.

    Raises:
        ConfigError: the configuration has a mistake.
    """

    soft_limit_error: ClassVar[type[SoftTimeLimitExceeded]] = SoftTimeLimitExceeded
    """What a worker raises in its tasks at their soft limits."""
    adopted: str | None = None
    """For an application that another library's has been made into: which one, for people."""

    def __init__(
        self,
        main: str | None = None,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        middleware: Iterable[Middleware | str] = (),
        shared: bool = True,
        **settings: Any,
    ) -> None:
        self._middleware = tuple(middleware)
        self._resolved: tuple[Middleware, ...] | None = None
        super().__init__(main, config, **settings)
        if shared:
            join(self)

    def override(self, overrides: Mapping[str, Any], config: str | Path | None = None) -> None:
        """Resolve the settings again, the command line's options before all else; see `Sender.override`."""
        super().override(overrides, config)
        self._resolved = None

    def origin_configuration(self, defaults: bool) -> dict[str, Any] | None:
        """The configuration of an adopted application as its own library tells it, secrets masked.

        Parameters:
            defaults: also what nobody has set.
        """
        return None

    def origin_report(self) -> str | None:
        """What the library of an adopted application tells of itself for bug reports, secrets masked."""
        return None

    def set_up_logs(self) -> bool:
        """Let an adopted application set up logging in a worker's process, if it wants; whether it has."""
        return False

    def differences(self) -> list[tuple[str, str]]:
        """What behaves differently here than where an adopted application comes from, and what to do."""
        return []

    def origin_settings(self) -> Mapping[str, Any]:
        """The settings of an adopted application, as a greenq.yaml has them; none for one of greenq's own."""
        return {}

    def middleware(self) -> tuple[Middleware, ...]:
        """What is done around every run, outermost first: the code's, then the configuration's.

        Raises:
            ConfigError: a name of the configuration leads to no middleware.
        """
        if self._resolved is None:
            self._resolved = resolve((*self._middleware, *self.settings.middleware))
        return self._resolved

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> _Result[Any]:
        """Send a call by the task's name, which need not be known here; its arguments are not checked.

        Parameters:
            options: as for `Task.apply_async`.

        Raises:
            See `Task.apply_async`.
        """
        return self.send(check_name(name), () if args is None else tuple(args), kwargs, options)

    def send_many(self, calls: Iterable[Call[T]], **options: Unpack[CallOptions]) -> list[_Result[T]]:
        """Send many calls in few round trips: ``app.send_many(add.call(n, n) for n in range(5000))``.

        `calls` is read as it is sent, a thousand at a time.

        Parameters:
            calls: made by `Task.call`, or ``Call("name", args, kwargs)``.
            options: for all of them; a call's own go first.

        Returns:
            Their results, in their order.

        Raises:
            PartlySent: some were not sent; it has which and why (also a wrong option or argument), and the
                results of those that were. What follows is not read from `calls` any more.
        """
        sent: list[_Result[T]] = []
        for batch in _batches(calls):
            sent += self._send_batch(batch, options, sent)
        return sent

    def _send_batch(
        self, calls: list[Call[T]], options: CallOptions, before: list[_Result[T]]
    ) -> list[_Result[T]]:
        request = current.get()
        self.listen()
        composed: list[tuple[int, Message]] = []
        results: list[_Result[T] | None] = [None] * len(calls)
        failed: list[tuple[Any, GreenqError]] = []
        for place, call in enumerate(calls):
            merged = {**options, **call.options} if call.options else options
            try:
                if self.settings.tasks.eager and call.task in self.tasks:
                    results[place] = self.tasks[call.task].apply_async(call.args, call.kwargs, **merged)
                else:
                    message = self.composer.compose(call.task, call.args, call.kwargs, merged, request)
                    holder = None
                    if self.throttling.unique or merged:
                        holder = self._hold(message, call.args, call.kwargs, merged)
                    if holder is None:
                        composed.append((place, message))
                    else:
                        results[place] = self._result_for(holder, message, request, merged)
            except AlreadyQueued as error:
                failed.append((call, error))
            except GreenqError as error:
                # What came before it is good: it is sent, and the mistake is told after that.
                failed.append((call, error))
                break
        published: list[Message] = []
        for (place, message), problem in zip(composed, self._publish(composed), strict=True):
            if problem is None:
                published.append(message)
                if after_task_publish.receivers:
                    tell_after(message, self.codecs)
                results[place] = self._result_of(message, request, options)
            else:
                self.throttling.give_back([(message, problem)])
                failed.append((calls[place], problem))
        if self.sent is not None:
            self.sent.tell(published)
        sent = [result for result in results if result is not None]
        if not failed:
            return sent
        if len(failed) == len(calls) == 1 and not before:
            raise failed[0][1]
        count = f"{len(failed)} call{'s were' if len(failed) > 1 else ' was'} not sent"
        text = f"{count}, {len(before) + len(sent)} before were; the first of them: {failed[0][1]}"
        raise PartlySent(text, before + sent, failed) from failed[0][1]

    def _publish(self, composed: list[tuple[int, Message]]) -> list[GreenqError | None]:
        """Publish; where nobody answers, that is the error of each."""
        if not composed:
            return []
        messages = [message for _, message in composed]
        try:
            return self.broker.publish(messages, self.settings.broker.publish_timeout)
        except BrokerError as error:
            return [error] * len(messages)

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────

    def wait(
        self, results: Iterable[_Result[T]], timeout: float | None = None, propagate: bool = True
    ) -> list[T]:
        """Wait for all of them and return their values in order; see `greenq.gathering.gather`."""
        return gather(results, timeout, propagate)

    def as_completed(
        self, results: Iterable[_Result[T]], timeout: float | None = None
    ) -> Iterator[_Result[T]]:
        """Yield each of them as its task ends; see `greenq.gathering.as_completed`."""
        return as_completed(results, timeout)

    def AsyncResult(self, id: str) -> _Result[Any]:
        """The result of a call, by its id."""
        return AsyncResult(id, self)

    def __repr__(self) -> str:
        return f"<GreenQ {self.main or 'application'}: {len(self.tasks)} tasks>"


def _batches(calls: Iterable[Call[T]]) -> Iterator[list[Call[T]]]:
    """Read `calls` a batch at a time, so that an endless generator is sent as it goes."""
    source = iter(calls)
    while batch := list(islice(source, BATCH)):
        yield batch
