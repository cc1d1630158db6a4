"""Tasks that libraries declare without knowing an application: every application takes them in.

The one registry that is global; each application that is made with ``shared=True``, the default, joins it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from greenq.decorators import BoundDecorator, Decorator
from greenq.errors import AppError, InvalidOption
from greenq.options import DeclaredOptions
from greenq.task import AsyncTask, Task

__all__ = ["SharedTask", "join", "shared_task"]

P = ParamSpec("P")
R = TypeVar("R")


class Member(Protocol):
    """The part of an application that takes shared tasks in."""

    tasks: dict[str, Task[Any, Any]]

    def name_of(self, fn: Callable[..., Any]) -> str:
        """See `GreenQ.name_of`."""

    def register(
        self, fn: Callable[..., Any], bind: bool, name: str | None, base: Any, options: Mapping[str, Any]
    ) -> Task[Any, Any]:
        """See `GreenQ.register`."""


class SharedTask:
    """A function that is a task of every application; what it is asked for, the newest one's task answers.

    Parameters:
        fn, bind, name, base, options: as ``@app.task`` takes them.
    """

    def __init__(
        self, fn: Callable[..., Any], bind: bool, name: str | None, base: Any, options: Mapping[str, Any]
    ) -> None:
        self.__wrapped__ = fn
        self.__name__: str = getattr(fn, "__name__", repr(fn))
        self.__qualname__: str = getattr(fn, "__qualname__", self.__name__)
        self.__module__ = fn.__module__
        self.__doc__ = fn.__doc__
        self._bind = bind
        self._name = name
        self._base = base
        self._options = options

    def enter(self, app: Member) -> None:
        """Become a task of an application, unless it has one of this name already."""
        name = app.name_of(self.__wrapped__) if self._name is None else self._name
        if name not in app.tasks:
            app.register(self.__wrapped__, self._bind, name, self._base, self._options)

    def of(self, app: Member) -> Task[Any, Any]:
        """The task of one application."""
        return app.tasks[app.name_of(self.__wrapped__) if self._name is None else self._name]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now; without an application like the function itself."""
        app = _newest()
        if app is not None:
            return self.of(app)(*args, **kwargs)
        if self._bind:
            raise self._homeless()
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"a shared task has no {name}")
        app = _newest()
        if app is None:
            raise self._homeless()
        return getattr(self.of(app), name)

    def __repr__(self) -> str:
        return f"<SharedTask {self._name or self.__qualname__}>"

    def _homeless(self) -> AppError:
        return AppError(
            f"the shared task {self.__qualname__} has no application yet: make one first, as in "
            'app = GreenQ("shop")'
        )


_tasks: list[SharedTask] = []
_apps: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""Those that joined, by when they did."""
_joined = 0


def join(app: Member) -> None:
    """Let an application have all shared tasks, those of today and those to come."""
    global _joined
    _joined += 1
    _apps[_joined] = app
    for task in _tasks:
        task.enter(app)


def _newest() -> Member | None:
    living = dict(_apps)
    return cast(Member, living[max(living)]) if living else None


@overload
def shared_task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def shared_task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(
    *,
    bind: Literal[True],
    name: str | None = None,
    base: type[Task[Any, Any]] | None = None,
    **options: Unpack[DeclaredOptions],
) -> BoundDecorator: ...
@overload
def shared_task(
    *,
    bind: Literal[False] = False,
    name: str | None = None,
    base: type[Task[Any, Any]] | None = None,
    **options: Unpack[DeclaredOptions],
) -> Decorator: ...
def shared_task(
    fn: Any = None, /, *, bind: bool = False, name: Any = None, base: Any = None, **options: Any
) -> Any:
    """Make a function a task of every application: for libraries, which know none.

        >>> from greenq import shared_task
        >>> @shared_task
        ... def resize(path: str) -> str:
        ...     return path
        >>> resize("a.png")
        'a.png'

    Sent, it goes where the newest application sends; ``app.tasks[name]`` is one application's own.

    Parameters:
        bind, name, base, options: as for ``@app.task``; checked when an application takes it in.

    Raises:
        InvalidOption: an application has no such option, or its value is wrong.
    """
    if fn is None:
        return lambda fn: _share(fn, bind, name, base, options)
    if not callable(fn):
        raise InvalidOption(f"@shared_task takes options by name only, not {fn!r:.80}")
    return _share(fn, bind, name, base, options)


def _share(
    fn: Callable[..., Any], bind: bool, name: str | None, base: Any, options: Mapping[str, Any]
) -> SharedTask:
    task = SharedTask(fn, bind, name, base, options)
    for app in list(_apps.values()):
        task.enter(app)
    _tasks.append(task)
    return task
