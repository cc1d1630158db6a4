"""The tasks of an application: declared in code, shared by libraries, found in packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, overload

from greenq.annotations import Annotations, is_plain
from greenq.decorators import BoundDecorator, Decorator
from greenq.errors import AppError, InvalidOption
from greenq.importing import import_module, installed_apps, related
from greenq.optionchecks import check_declared, check_name
from greenq.options import DeclaredOptions
from greenq.sender import Sender
from greenq.task import AsyncTask, Task

__all__ = ["Registry"]

P = ParamSpec("P")
R = TypeVar("R")

Packages = Iterable[str] | Callable[[], Iterable[str]] | None


class Registry(Sender):
    """Holds the tasks; `GreenQ` adds their sending.

    Attributes:
        tasks: the registered tasks by name.
    """

    def __init__(
        self, main: str | None = None, config: str | Path | Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        self.tasks: dict[str, Task[Any, Any]] = {}
        self._own: dict[str, dict[str, Any]] = {}
        """By task, what its decorator and its class say."""
        self._wanted: list[tuple[Packages, str | None]] = []
        annotations = settings.get("annotations")
        self._annotators = None if is_plain(annotations) else settings.pop("annotations", None)
        super().__init__(main, config, **settings)

    def _configure(self, overrides: Mapping[str, Any]) -> None:
        super()._configure(overrides)
        self._annotations = Annotations(self.settings.annotations, self._annotators)
        for name, task in self.tasks.items():
            self._declared[name] = task.declared = dict(self._own[name])
            task.resolve()  # what annotates it may look at it
            if self._annotate(task):
                task.resolve()

    def _find_task(self, name: str) -> object:
        return self.tasks.get(name)

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
    ) -> BoundDecorator: ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[False] = False,
        name: str | None = None,
        base: type[Task[Any, Any]] | None = None,
        **options: Unpack[DeclaredOptions],
    ) -> Decorator: ...
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
            return lambda fn: self.register(fn, bind, name, base, options)
        if not callable(fn):
            raise InvalidOption(f"@app.task takes options by name only, not {fn!r:.80}")
        return self.register(fn, bind, name, base, options)

    def register(
        self, fn: Callable[..., Any], bind: bool, name: str | None, base: Any, options: Mapping[str, Any]
    ) -> Task[Any, Any]:
        """Make a function a task; what the decorator does.

        Raises:
            InvalidOption: there is no such option, or its value is wrong.
            AppError: another function has that name.
        """
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
        if kind.has_own_call and {**kind.base_options, **declared}.get("batch") is not None:
            raise InvalidOption(f"task {name}: a class with its own __call__ can't be the base of a batch")
        self._own[name] = self._declared[name] = {**kind.base_options, **declared}
        self.composer.forget(name)
        task = kind(self, fn, name, bind, declared)
        if self._annotate(task):
            task.resolve()
        self.tasks[name] = task
        return task

    def _annotate(self, task: Task[Any, Any]) -> bool:
        """Lay over what a task declares what was said of it elsewhere; whether there was anything."""
        found = self._annotations.of(task.name, task)
        if found:
            self._declared[task.name] = task.declared = check_declared(
                {**task.declared, **found}, f"annotations of {task.name}"
            )
            self.composer.forget(task.name)
        return bool(found)

    def name_of(self, fn: Callable[..., Any]) -> str:
        """The name that a function gets as a task: its module (`main` for ``__main__``) and its own name."""
        own = getattr(fn, "__name__", None)
        if own is None:
            raise InvalidOption(f"{fn!r:.80} has no name of its own: give it one with name=…")
        module = fn.__module__ or "__main__"
        return f"{self.main if module == '__main__' and self.main else module}.{own}"

    # ── tasks elsewhere ──────────────────────────────────────────────────────────────────────────────────

    def autodiscover_tasks(
        self, packages: Packages = None, related_name: str | None = "tasks", force: bool = False
    ) -> None:
        """Import the module `tasks` of each package that has one, before a worker or command looks at tasks.

        Parameters:
            packages: their names, or a function that gives them; None for Django's installed applications.
            related_name: another name of the modules; None for the packages themselves.
            force: import them now.

        Raises:
            AppError: with `force`, there is no such package, or an import fails.
        """
        self._wanted.append((packages, related_name))
        if force:
            self._import_wanted()

    def load_tasks(self) -> None:
        """Import every module that configuration and code name as holding tasks.

        Raises:
            AppError: one cannot be imported; one line that says where.
        """
        for name in self.settings.imports:
            import_module(name.partition(":")[0])
        for package in self.settings.autodiscover:
            related(package, "tasks")
        self._import_wanted()

    def _import_wanted(self) -> None:
        # Those that are imported may want others in turn.
        while self._wanted:
            packages, name = self._wanted.pop(0)
            if packages is None:
                packages = installed_apps()
            for package in packages() if callable(packages) else packages:
                related(package, name)


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
