"""A task: a function that can be sent to run elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MethodType
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, Unpack

from greenq.asyncresult import AsyncResult
from greenq.call import Call
from greenq.canvas.following import FOLLOWING, follow
from greenq.canvas.owners import TaskCanvas
from greenq.canvas.replacing import Replacing
from greenq.classhooks import ClassHooks
from greenq.eager import run as run_eagerly
from greenq.eagerresult import EagerResult
from greenq.errors import BrokerError, InvalidTaskArguments, MaxRetriesExceeded
from greenq.joining import deny_join_result
from greenq.lifecycle import Lifecycle
from greenq.optionattributes import OptionAttributes
from greenq.optionchecks import check_call, check_declared, option_names
from greenq.options import CallOptions, TaskOptions
from greenq.request import Request, direct, entering
from greenq.running import RunningTask
from greenq.sender import Sender
from greenq.signatures import checker, explain
from greenq.throttling.checks import DECLARED as THROTTLING
from greenq.throttling.rules import rules_of
from greenq.typedarguments import converter_of, converting, dumping

__all__ = ["AsyncTask", "Task"]

P = ParamSpec("P")
R = TypeVar("R")

_Result = AsyncResult
"""The class, in signatures of a class that has a method of its name."""


class Task(RunningTask, ClassHooks, OptionAttributes, TaskCanvas, Replacing, Generic[P, R]):
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

    OperationalError = BrokerError
    """Celery's name for what is raised where the broker is away."""
    base_options: Mapping[str, Any] = {}
    """The options that a base class sets as class attributes, for the tasks that name it as `base`."""
    lifecycle_kind: ClassVar[type[Lifecycle]] = Lifecycle
    """What tells of its runs in a worker."""

    def __init__(
        self, app: Sender, fn: Callable[..., Any], name: str, bind: bool, declared: Mapping[str, Any]
    ) -> None:
        self.app = app
        self.name = name
        self.declared: dict[str, Any] = {**self.base_options, **declared}
        converter = converter_of(app, fn, name, self.declared)
        run = fn if converter is None else converting(fn, converter)
        self.run: Callable[..., Any] = MethodType(run, self) if bind else run
        self._outgoing = None if converter is None else dumping(self.run, converter)
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
        if "__call__" in vars(cls) and cls.__module__ != __name__:
            cls.has_own_call = True

    def resolve(self) -> None:
        """Work out `options` from what was declared and the configuration as it is now."""
        whole = self.declared.get("batch") is None  # else no call has the function's own arguments
        self._check = checker(self.run) if whole and self.declared.get("typing", True) else None
        plan = self.app.composer.plan(self.name)
        self.options = TaskOptions.resolve(
            self.declared, self.app.settings.tasks,
            queue=plan.queue, priority=plan.priority,
            serializer=plan.serializer, compression=plan.compression,
        )  # fmt: skip
        limits = {name: getattr(self.options, name) for name in THROTTLING}
        fn = self.run if whole else None
        self.rules = rules_of(self.name, fn, limits, self.app.settings.throttling.unique_for)
        self.app.throttling.heed(self.name, self.rules)

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, like the function itself."""
        if self.has_own_call and entering.get() is not None:
            # A worker runs it, through a class's own method of this name: its call goes on.
            entering.set(None)
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
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
        if self._outgoing is not None:
            return self._send_converted(args, kwargs, {})
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
        if self._outgoing is not None:
            return self._send_converted(arguments, names, options)
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
        if self._outgoing is not None:
            return Call(self.name, *self._outgoing(args, kwargs))
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
        result = run_eagerly(self, () if args is None else tuple(args), dict(kwargs or {}), given, throw)
        if FOLLOWING & given.keys():
            follow(self.app, given, result)
        return result

    def _send_converted(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> _Result[R]:
        """Send plain data instead of models, unless the serializer carries models as they are."""
        if self._outgoing is not None and options.get("serializer", self.options.serializer) != "pickle":
            args, kwargs = self._outgoing(args, kwargs)
        if self.app.settings.tasks.eager:
            return self._send_eagerly(args, kwargs, options)
        return self.app.send(self.name, args, kwargs, options)

    def _send_eagerly(self, args: Any, kwargs: dict[str, Any], options: Mapping[str, Any]) -> _Result[R]:
        """With ``tasks.eager``: run it here, with arguments as a worker would get them."""
        message = self.app.composer.compose(self.name, args, kwargs, options)
        args, kwargs, _ = self.app.codecs.decode(
            message.body, message.content_type, message.content_encoding, message.headers.get("compression")
        )
        with deny_join_result():
            return self.apply(args, kwargs, **{**options, "task_id": message.headers["id"]})

    def arguments_to_send(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], serializer: str | None
    ) -> tuple[Any, Mapping[str, Any]]:
        """Check that arguments fit the function, unless ``typing=False``; models among them made plain data.

        Parameters:
            serializer: the call's own.

        Raises:
            InvalidTaskArguments: they do not fit.
        """
        if self._check is not None:
            try:
                self._check(*args, **kwargs)
            except TypeError:
                raise self._misfit(args, kwargs) from None
        if self._outgoing is None or (serializer or self.options.serializer) == "pickle":
            return args, kwargs
        return self._outgoing(args, dict(kwargs))

    def _misfit(self, args: Any, kwargs: Mapping[str, Any]) -> InvalidTaskArguments:
        return InvalidTaskArguments(explain(self.name, self.run, args, kwargs))

    def AsyncResult(self, task_id: str) -> _Result[R]:
        """The result of a call of this task, by its id."""
        return AsyncResult(task_id, self.app)

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

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
