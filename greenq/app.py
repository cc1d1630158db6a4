"""The application: configuration, tasks, and everything that is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from greenq.asyncresult import AsyncResult
from greenq.call import Call
from greenq.errors import AppError, BrokerError, GreenqError, InvalidOption, PartlySent
from greenq.gathering import as_completed, gather
from greenq.message import Message
from greenq.middleware import Middleware, resolve
from greenq.optionchecks import check_declared, check_name
from greenq.options import CallOptions, DeclaredOptions
from greenq.request import current
from greenq.sender import Sender
from greenq.task import AsyncTask, Task

__all__ = ["GreenQ"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_Result = AsyncResult
"""The class, in signatures of a class that has a method of its name."""

BATCH = 1000
"""Messages that `send_many` hands to the broker at once."""


class _Decorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


class _BoundDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


class GreenQ(Sender):
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
        settings: sections of the configuration (``worker={"lease": "2s"}``); ``broker`` and ``results`` may
            be the address alone. They go before those of `config`.

    Attributes:
        settings: the resolved configuration.
        config: the same with the origin of each value.
        tasks: the registered tasks by name.
        codecs: encodes and decodes as the settings say.

    Raises:
        ConfigError: the configuration has a mistake.
    """

    def __init__(
        self,
        main: str | None = None,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        middleware: Iterable[Middleware | str] = (),
        **settings: Any,
    ) -> None:
        self.tasks: dict[str, Task[Any, Any]] = {}
        self._middleware = tuple(middleware)
        self._resolved: tuple[Middleware, ...] | None = None
        super().__init__(main, config, **settings)

    def override(self, overrides: Mapping[str, Any], config: str | Path | None = None) -> None:
        """Resolve the settings again, the command line's options before all else; see `Sender.override`."""
        super().override(overrides, config)
        self._resolved = None
        for task in self.tasks.values():
            task.resolve()

    def middleware(self) -> tuple[Middleware, ...]:
        """What is done around every run, outermost first: the code's, then the configuration's.

        Raises:
            ConfigError: a name of the configuration leads to no middleware.
        """
        if self._resolved is None:
            self._resolved = resolve((*self._middleware, *self.settings.middleware))
        return self._resolved

    # ── tasks ────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[True],
        name: str | None = None,
        base: type[Task[Any, Any]] | None = None,
        **options: Unpack[DeclaredOptions],
    ) -> _BoundDecorator: ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[False] = False,
        name: str | None = None,
        base: type[Task[Any, Any]] | None = None,
        **options: Unpack[DeclaredOptions],
    ) -> _Decorator: ...
    def task(
        self, fn: Any = None, /, *, bind: bool = False, name: Any = None, base: Any = None, **options: Any
    ) -> Any:
        """Make a function a task: ``@app.task`` or ``@app.task(…)``.

        Parameters:
            bind: the function's first parameter is the task.
            name: as messages carry it; by default module and function.
            base: a subclass of `Task`.
            options: see the manual's "Tasks".

        Raises:
            InvalidOption: there is no such option, or its value is wrong.
            AppError: another function has that name.
        """
        if fn is None:
            return lambda fn: self._register(fn, bind, name, base, options)
        if not callable(fn):
            raise InvalidOption(f"@app.task takes options by name only, not {fn!r:.80}")
        return self._register(fn, bind, name, base, options)

    def _register(
        self, fn: Callable[..., Any], bind: bool, name: str | None, base: Any, options: Mapping[str, Any]
    ) -> Task[Any, Any]:
        name = self.name_of(fn) if name is None else check_name(name)
        declared = check_declared(options, f"task {name}")
        known = self.tasks.get(name)
        if known is not None and not _same(known.__wrapped__, fn):
            raise AppError(
                f"two functions are the task {name!r}: {_place(known.__wrapped__)} and {_place(fn)}; "
                "give one of them another name=…"
            )
        if base is None:
            kind: type[Task[Any, Any]] = AsyncTask if inspect.iscoroutinefunction(fn) else Task
        elif isinstance(base, type) and issubclass(base, Task):
            kind = base
        else:
            raise InvalidOption(f"task {name}: base must be a subclass of greenq.Task, not {base!r:.80}")
        self._declared[name] = {**kind.base_options, **declared}
        self.composer.forget(name)
        task = self.tasks[name] = kind(self, fn, name, bind, declared)
        return task

    def name_of(self, fn: Callable[..., Any]) -> str:
        """The name that a function gets as a task: its module (`main` for ``__main__``) and its own name."""
        own = getattr(fn, "__name__", None)
        if own is None:
            raise InvalidOption(f"{fn!r:.80} has no name of its own: give it one with name=…")
        module = fn.__module__ or "__main__"
        return f"{self.main if module == '__main__' and self.main else module}.{own}"

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
                    composed.append((place, message))
            except GreenqError as error:
                # What came before it is good: it is sent, and the mistake is told after that.
                failed.append((call, error))
                break
        for (place, message), problem in zip(composed, self._publish(composed), strict=True):
            if problem is None:
                results[place] = self._result_of(message, request, options)
            else:
                failed.append((calls[place], problem))
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


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two functions are one: a module that is imported again makes its functions again."""
    return one is other or (
        (one.__module__, getattr(one, "__qualname__", None))
        == (other.__module__, getattr(other, "__qualname__", None))
    )


def _place(fn: Callable[..., Any]) -> str:
    """Where a function is written, for people."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{fn.__module__}.{getattr(fn, '__qualname__', fn)}{where}"
