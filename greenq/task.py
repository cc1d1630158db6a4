"""A task: a function that can be sent to run elsewhere."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack

from greenq.asyncresult import AsyncResult
from greenq.call import Call
from greenq.eager import run as run_eagerly
from greenq.eagerresult import EagerResult
from greenq.errors import AppError, InvalidTaskArguments, MaxRetriesExceeded, Retry, TaskSignal
from greenq.failures import describe
from greenq.joining import deny_join_result
from greenq.message import EXCEPTION_STATES, Result
from greenq.optionchecks import check_call, check_declared, option_names
from greenq.options import CallOptions, NextOptions, TaskOptions
from greenq.request import Request, current, direct
from greenq.retrying import backoff, merge_arguments, signal
from greenq.sender import Sender
from greenq.signatures import checker, explain

__all__ = ["AsyncTask", "Task"]

P = ParamSpec("P")
R = TypeVar("R")

_Result = AsyncResult
"""The class, in signatures of a class that has a method of its name."""


class Task(Generic[P, R]):
    """A registered function, made by ``@app.task``.

    Called, it runs here and now like the function itself; `delay` and `apply_async` send it.

    Parameters:
        app: where its calls are sent.
        fn: the function; with `bind` its first parameter is the task.
        name: as messages carry it.
        declared: the options that its decorator gave, checked.

    Attributes:
        run: the function, bound to the task with ``bind=True``.
        options: all of its options, the configuration's defaults among them.
        is_coroutine: its function is an ``async def``.
    """

    base_options: Mapping[str, Any] = {}
    """The options that a base class sets as class attributes, for the tasks that name it as `base`."""

    def __init__(
        self, app: Sender, fn: Callable[..., Any], name: str, bind: bool, declared: Mapping[str, Any]
    ) -> None:
        self.app = app
        self.name = name
        self.declared: dict[str, Any] = {**self.base_options, **declared}
        self.run: Callable[..., Any] = MethodType(fn, self) if bind else fn
        self.is_coroutine = inspect.iscoroutinefunction(fn)
        self.__wrapped__ = fn
        self.__name__: str = getattr(fn, "__name__", name)
        self.__qualname__: str = getattr(fn, "__qualname__", name)
        self.__module__ = fn.__module__
        self.__doc__ = fn.__doc__
        self.resolve()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: value for name, value in vars(cls).items() if name in option_names()}
        for name in own:
            delattr(cls, name)
        cls.base_options = check_declared({**cls.base_options, **own}, f"class {cls.__qualname__}")
        for name in ("before_start", "on_success", "on_failure", "on_retry", "after_return", "__call__"):
            if name in vars(cls) and cls.__module__ != __name__:
                raise AppError(
                    f"class {cls.__qualname__}: greenq does not call a task class's {name} yet; "
                    "put what it does into the function"
                )

    def resolve(self) -> None:
        """Work out `options` from what was declared and the configuration as it is now."""
        self._check = checker(self.run) if self.declared.get("typing", True) else None
        plan = self.app.composer.plan(self.name)
        self.options = TaskOptions.resolve(
            self.declared, self.app.settings.tasks,
            queue=plan.queue, priority=plan.priority,
            serializer=plan.serializer, compression=plan.compression,
        )  # fmt: skip

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, like the function itself."""
        token = direct.set(Request.for_direct_call(self.name, args, kwargs))
        try:
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        finally:
            direct.reset(token)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> _Result[R]:
        """Send it with these arguments.

        Raises:
            InvalidTaskArguments: they do not fit the function's signature.
            PublishError: the broker did not take it (`PublishTimeout`: it may have arrived).
            BrokerUnreachable: nobody answers.
        """
        if self._check is not None:
            try:
                self._check(*args, **kwargs)
            except TypeError:
                raise self._misfit(args, kwargs) from None
        if self.app.settings.tasks.eager:
            return self._send_eagerly(args, kwargs, {})
        return self.app.send(self.name, args, kwargs, None)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> _Result[R]:
        """Send it with options; the manual's "Calling tasks" explains each.

        Parameters:
            args, kwargs: what the function gets.

        Raises:
            InvalidOption: there is no such option, or its value is wrong.
            See `delay` for the others.
        """
        arguments = args if type(args) is tuple else () if args is None else tuple(args)
        names = {} if kwargs is None else dict(kwargs)
        if self._check is not None:
            try:
                self._check(*arguments, **names)
            except TypeError:
                raise self._misfit(arguments, names) from None
        if self.app.settings.tasks.eager:
            return self._send_eagerly(arguments, names, options)
        return self.app.send(self.name, arguments, names, options)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """A call that is not sent yet, for `GreenQ.send_many`.

        Raises:
            InvalidTaskArguments: they do not fit the function's signature.
        """
        if self._check is not None:
            try:
                self._check(*args, **kwargs)
            except TypeError:
                raise self._misfit(args, kwargs) from None
        return Call(self.name, args, kwargs)

    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool = False,
        **options: Unpack[CallOptions],
    ) -> EagerResult[R]:
        """Run it here and now as a worker would: with a request, retries (at once) and a result.

        Parameters:
            args, kwargs: what the function gets.
            throw: raise the task's exception instead of keeping it in the result.
            options: as `apply_async` takes them; those about sending have no effect.
        """
        given = check_call(options, f"call of {self.name}")
        return run_eagerly(self, () if args is None else tuple(args), dict(kwargs or {}), given, throw)

    def _send_eagerly(self, args: Any, kwargs: dict[str, Any], options: Mapping[str, Any]) -> _Result[R]:
        """With ``tasks.eager``: run it here, with arguments as a worker would get them."""
        message = self.app.composer.compose(self.name, args, kwargs, options)
        args, kwargs, _ = self.app.codecs.decode(
            message.body, message.content_type, message.content_encoding, message.headers.get("compression")
        )
        with deny_join_result():
            return self.apply(args, kwargs, **{**options, "task_id": message.headers["id"]})

    def _misfit(self, args: Any, kwargs: Mapping[str, Any]) -> InvalidTaskArguments:
        return InvalidTaskArguments(explain(self.name, self.run, args, kwargs))

    def AsyncResult(self, task_id: str) -> _Result[R]:
        """The result of a call of this task, by its id."""
        return AsyncResult(task_id, self.app)

    # ── while it runs ────────────────────────────────────────────────────────────────────────────────────

    @property
    def request(self) -> Request:
        """The call that runs now; one without an id where the task is called like a plain function."""
        request = direct.get()
        if request is not None and request.task == self.name:
            return request
        request = current.get()
        if request is not None and request.task == self.name:
            return request
        return Request.for_direct_call(self.name, (), {})

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of the running task, such as its progress; an ended task's is never overwritten.

        Parameters:
            task_id: of another task; None for the running one.
            state: a name of your own, such as ``"PROGRESS"``; None keeps STARTED.
            meta: what `AsyncResult.info` shows.

        Raises:
            ResultStoreError: the store fails.
            EncodeError: the results' serializer can't carry `meta`.
        """
        request = self.request
        if task_id is None and (request.is_eager or request.called_directly):
            return
        store = self.app.results
        if store is None:
            return
        state = state or "STARTED"
        value = describe(meta) if state in EXCEPTION_STATES and isinstance(meta, BaseException) else meta
        keep = self.app.settings.results
        result = Result(
            task_id or request.id, state, value, expires=keep.expires, reply_to=request.reply_to or None
        )
        store.encode(result)
        store.put((result,), keep.timeout)

    # ── running again ────────────────────────────────────────────────────────────────────────────────────

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Unpack[NextOptions],
    ) -> Retry:
        """Run the call again later: write ``raise self.retry(…)``, for it raises.

        Parameters:
            args, kwargs: what it gets then; None for what it has now.
            exc: why; raised itself once the retries are used up.
            throw: raise the `Retry`; otherwise return it.
            eta, countdown: when; by default after `default_retry_delay`.
            max_retries: instead of the task's own, for this run; None for the task's own.
            options: of the next call, as for `apply_async`.

        Raises:
            Retry: to tell the worker, which sends the next call together with this one's end.
            MaxRetriesExceeded: they are used up, and there is no `exc`.
        """
        request = self.request
        if request.called_directly:
            # There is no message to repeat: the caller sees what went wrong.
            raise exc or sys.exception() or Retry("the task asks to be run again", None)
        request.max_retries = max_retries
        limit = self.options.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries >= limit:
            raise exc if exc is not None else self._exhausted(request)
        if eta is None and countdown is None:
            countdown = self.options.default_retry_delay
        given = check_call({**options, "eta": eta, "countdown": countdown}, f"retry of {self.name}")
        retry = self._retry(request, args, kwargs, exc, given)
        if throw:
            raise retry
        return retry

    def autoretry(self, exc: BaseException) -> Retry | None:
        """What the task's `autoretry_for` makes of an exception that came out of it.

        Returns:
            The `Retry` to treat it as; None if it is not meant, or the retries are used up.
        """
        options = self.options
        if not isinstance(exc, options.autoretry_for) or isinstance(exc, options.dont_autoretry_for):
            return None
        request = self.request
        if isinstance(exc, TaskSignal | MaxRetriesExceeded) or request.called_directly:
            return None
        given = dict(options.retry_kwargs)
        limit = given.pop("max_retries", options.max_retries)
        if request.max_retries is not None:
            limit = request.max_retries
        if limit is not None and request.retries >= limit:
            return None
        if options.retry_backoff:
            given.pop("eta", None)
            given["countdown"] = backoff(
                options.retry_backoff, request.retries, options.retry_backoff_max, options.retry_jitter
            )
        elif "eta" not in given:
            given.setdefault("countdown", options.default_retry_delay)
        return self._retry(request, given.pop("args", None), given.pop("kwargs", None), exc, given)

    def _retry(
        self, request: Request, args: Any, kwargs: Any, exc: BaseException | None, options: Mapping[str, Any]
    ) -> Retry:
        args, kwargs = merge_arguments(self.run, (request.args, request.kwargs), args, kwargs)
        retry = signal(exc, options["eta"] if "eta" in options else options["countdown"])
        retry.again = (
            request.args if args is None else tuple(args),
            request.kwargs if kwargs is None else kwargs,
        )
        if not request.is_eager:
            retry.publish = self.app.composer.compose_again(request, args, kwargs, options)
        return retry

    def _exhausted(self, request: Request) -> MaxRetriesExceeded:
        return MaxRetriesExceeded(
            f"{self.name}[{request.id}] was retried {request.retries} times, which is all it may: "
            f"args {request.argsrepr}, kwargs {request.kwargsrepr}"
        )

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

    @property
    def max_retries(self) -> int | None:
        """How often it may be retried; None for ever."""
        return self.options.max_retries

    @property
    def default_retry_delay(self) -> float:
        """Seconds that a retry waits that names no time."""
        return self.options.default_retry_delay

    @property
    def MaxRetriesExceededError(self) -> type[MaxRetriesExceeded]:
        """Celery's name for `MaxRetriesExceeded`."""
        return MaxRetriesExceeded

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class AsyncTask(Task[P, R]):
    """A task whose function is an ``async def``: called, it gives the coroutine."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """The function's coroutine, to be awaited."""
        return self.run(*args, **kwargs)  # type: ignore[no-any-return]
