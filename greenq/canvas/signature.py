"""A signature: a call as data, that can be changed, combined, stored and sent later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from greenq.asyncresult import AsyncResult
from greenq.canvas.composition import Composition
from greenq.canvas.ids import new_id
from greenq.canvas.item import Item
from greenq.canvas.linked import Linked
from greenq.canvas.stamped import Stamped
from greenq.errors import AppError
from greenq.request import current
from greenq.sender import Sender, newest_app
from greenq.shortrepr import shortrepr

__all__ = ["Signature", "maybe_signature", "signature"]

FIXED = frozenset({"group_id", "stamped_headers"})
"""Options that a signature keeps once it has them: with others, what it belongs to would never end."""


class Signature(Linked, Stamped, dict[str, Any]):
    """A call as data: a task's name, arguments and options. A dict, so that every serializer carries it.

        >>> from greenq import GreenQ, signature
        >>> app = GreenQ("shop", broker="memory://signatures")
        >>> signature("shop.add", args=(2, 2), app=app)
        shop.add(2, 2)

    Parameters:
        task: the task or its name; or a dict that was a signature, then the others are ignored.
        args, kwargs: what the function gets; more may be added when it is called.
        options: as `Task.apply_async` takes them.
        type: the task, if only its name is given as `task`.
        subtask_type: which kind of signature it is; None for a single task.
        immutable: nothing is added to its arguments when it is called.
        app: where it is sent.
        ex: further options.
    """

    TYPES: ClassVar[dict[str, type[Signature]]] = {}
    """The kinds of signatures by the name that they have in messages."""
    workflow: ClassVar[bool] = False
    """Whether applying it is more than calling its task."""
    pipe: ClassVar[Callable[[Any, Any], Any]]
    """What ``left | right`` makes; the rules are in `greenq.canvas.pipes`."""

    task = Item("task", about="The task's name.")
    args = Item("args", about="Positional arguments.")
    kwargs = Item("kwargs", about="Keyword arguments.")
    options = Item("options", about="Options of the call.")
    subtask_type = Item("subtask_type", about="The kind of signature, None for a single task.")
    immutable = Item("immutable", about="Whether its arguments are final.")
    id = Item("task_id", "options", "The id that it will have, None if it is not fixed yet.")
    root_id = Item("root_id", "options", "The id of the workflow's first task, if fixed.")
    parent_id = Item("parent_id", "options", "The id of the task that sends it, if fixed.")

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Sender | None = None,
        **ex: Any,
    ) -> None:
        self._app = app
        self._type = type
        if isinstance(task, Mapping):
            super().__init__(task)
            for name, empty in (("args", ()), ("kwargs", {}), ("options", {})):
                if self.get(name) is None:
                    self[name] = empty
            self.setdefault("subtask_type", None)
            self.setdefault("immutable", False)
            return
        if not isinstance(task, str):
            self._type, task = task, task.name
        super().__init__(
            task=task, args=tuple(args or ()), kwargs={} if kwargs is None else kwargs,
            options={**(options or {}), **ex}, subtask_type=subtask_type, immutable=immutable,
        )  # fmt: skip

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[type[Any]], type[Any]]:
        """Make a subclass a kind of its own, under which signatures are read back: a class decorator."""

        def register(kind: type[Any]) -> type[Any]:
            cls.TYPES[name or kind.__name__] = kind
            return kind

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read back a signature that was a plain dict on its way."""
        kind = cls.TYPES.get(d.get("subtask_type") or "")
        if kind is not None and kind is not cls:
            return kind.from_dict(d, app=app)
        return Signature(d, app=app)

    # ── who it belongs to ────────────────────────────────────────────────────────────────────────────────

    @property
    def app(self) -> Sender:
        """The application that sends it: its own, one of its members', or the one that was made last.

        Raises:
            AppError: there is none.
        """
        app = self._found_app() or newest_app()
        if app is None:
            raise AppError(
                f"the signature of {self.task} belongs to no application: make it with app.signature(…) or "
                "task.s(…), or give app=…"
            )
        return app

    def _found_app(self) -> Sender | None:
        if self._app is not None:
            return self._app
        return None if self._type is None else getattr(self._type, "app", None)

    @property
    def type(self) -> Any:
        """The task itself.

        Raises:
            KeyError: it is not registered here.
        """
        return self.app.tasks[self.task] if self._type is None else self._type

    @property
    def name(self) -> str:
        """The same as `task`."""
        return self.task  # type: ignore[no-any-return]

    def as_signature(self, other: Any) -> Any:
        """A callback as a signature of the same application."""
        return maybe_signature(other, app=None if isinstance(other, Signature) else self._found_app())

    def AsyncResult(self, id: str) -> AsyncResult[Any]:
        """The result of a call of that id."""
        return AsyncResult(id, self.app, None, bool(self.options.get("ignore_result")))

    # ── changing it ──────────────────────────────────────────────────────────────────────────────────────

    def _merge(
        self, args: Any = None, kwargs: Any = None, options: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> tuple[Any, Mapping[str, Any], dict[str, Any]]:  # fmt: skip
        """Arguments and options with more of them: new arguments come first, new options override.

        Parameters:
            force: add arguments even to an immutable one.
        """
        merged = dict(self.options)
        if options:
            fixed = FIXED.union(merged.get("stamped_headers") or ())
            merged |= {key: value for key, value in options.items() if key not in fixed or key not in merged}
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*args, *self.args) if args else self.args,
            {**self.kwargs, **kwargs} if kwargs else self.kwargs,
            merged,
        )

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Self:
        """A copy with these arguments before its own, and these keyword arguments and options besides."""
        args, kwargs, options = self._merge(args, kwargs, opts)
        made = dict.__new__(type(self))
        dict.__init__(
            made, task=self.task, args=tuple(args), kwargs=self._cloned_kwargs(kwargs),
            options=_copied(options), subtask_type=self.subtask_type, immutable=self.immutable,
        )  # fmt: skip
        made._app, made._type = self._app, self._type
        return made

    partial = clone

    def _cloned_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a copy; kinds with members copy those too."""
        return dict(kwargs)

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Self:
        """A copy with other arguments, keyword arguments or options; None keeps its own."""
        made = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                made[name] = value
        return made

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options of its call; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether its arguments are final: then no result of a task before it is added."""
        self["immutable"] = immutable

    # ── calling it ───────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Run the task here and now, like the function itself."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send it with these arguments before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send it.

        Parameters:
            args, kwargs: added to its own, `args` in front.
            options: as `Task.apply_async` takes them; they go before its own.

        Returns:
            The result: an `AsyncResult`, or a `GroupResult` where it ends in a group.

        Raises:
            See `Task.apply_async`; ResultStoreError where a chord needs a store that counts.
        """
        if not self.workflow:
            return self._call_task(args, kwargs, options)
        app = self.app
        if app.settings.tasks.eager:
            return self.apply(args, kwargs, **options)
        composition = Composition(app, current.get())
        result = self.compose(composition, args, kwargs, options)
        composition.deliver()
        return result

    def _call_task(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Call the task itself, or its name if it is not known here."""
        given = {name: value for name, value in options.items() if value is not None}
        args, kwargs, merged = self._merge(args, kwargs, given)
        app = self.app
        task = app.tasks.get(self.task) if self._type is None else self._type
        if task is not None:
            return task.apply_async(args, kwargs, **merged)
        return app.send(self.task, tuple(args), dict(kwargs), merged)

    def compose(self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Add what it sends to a composition; returns its result."""
        given = {name: value for name, value in options.items() if value is not None}
        args, kwargs, merged = self._merge(args, kwargs, given)
        return composition.add(self.task, args, kwargs, merged)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run it here and now as a worker would; returns an `EagerResult`."""
        given = {name: value for name, value in options.items() if value is not None}
        args, kwargs, merged = self._merge(args, kwargs, given)
        return self.type.apply(args, kwargs, **merged)

    def __invert__(self) -> Any:
        """Send it and wait for its value: ``~add.s(2, 2)``."""
        return self.apply_async().get()

    # ── fixing ids ───────────────────────────────────────────────────────────────────────────────────────

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None,
        root_id: str | None = None, parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix its id now, so that its result can be known before it is sent.

        Parameters:
            _id: the id, unless it has one.
            group_id, group_index: the group that it is a member of, and its place there.
            chord: what follows that group.

        Returns:
            The result that it will have.
        """
        options = self.options
        options.setdefault("task_id", _id or new_id())
        said = {"root_id": root_id, "parent_id": parent_id, "chord": chord}
        options.update({name: value for name, value in said.items() if value})
        if "reply_to" not in options:
            options["reply_to"] = self.app.reply_to
        if group_id:
            options.setdefault("group_id", group_id)
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(options["task_id"])

    _freeze = freeze

    def fresh_id(self) -> str:
        """An id that nothing has yet."""
        return new_id()

    # ── what kinds with members say otherwise ────────────────────────────────────────────────────────────

    def completions(self) -> int:
        """How many ends a chord has to count for it."""
        return 1

    def is_void(self) -> bool:
        """Whether it is a group without members, which a chain passes over."""
        return False

    def unchain_tasks(self) -> list[Any]:
        """Copies of its steps in order, if it is a chain; with the chain's own links."""
        return [self]

    def forget_chord(self) -> None:
        """Drop the chord from the options of what ends it."""
        self.options.pop("chord", None)

    def lighten(self) -> None:
        """Drop what `freeze` put into the members of chords that are sent later: it is set again then."""

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

    def __or__(self, other: Any) -> Any:
        return Signature.pipe(self, other)

    def __ior__(self, other: Any) -> Any:
        return Signature.pipe(self, other)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """It as a call is written, with these arguments before its own."""
        args, merged, _ = self._merge(args, kwargs, force=True)
        shown = [shortrepr(one, 100) for one in args]
        shown += [f"{name}={shortrepr(value, 100)}" for name, value in merged.items()]
        return f"{self.task}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __copy__(self) -> Self:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)


def _copied(value: Any) -> Any:
    """Options as a copy has them: what is changed later is the copy's own."""
    if isinstance(value, Signature):
        return value.clone()
    if isinstance(value, dict):
        # The chord around it is shared: copied into each member of each level it would never end.
        return {name: one if name == "chord" else _copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """Make a signature of a task, of its name, or of a dict that was one; a signature is copied.

        >>> from greenq import GreenQ, signature
        >>> app = GreenQ("shop", broker="memory://signature")
        >>> signature("shop.add", (2,), {"y": 3}, app=app)
        shop.add(2, y=3)

    Parameters:
        args, kwargs: see `Signature`.
    """
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: Sender | None = None, clone: bool = False) -> Any:
    """Make a signature of a dict; a signature, or None, stays what it is.

    Parameters:
        app: where it is sent from now on.
        clone: copy a signature.
    """
    if isinstance(d, Signature):
        d = d.clone() if clone else d
    elif isinstance(d, Mapping):
        d = Signature.from_dict(d, app=app)
    if app is not None and isinstance(d, Signature):
        d._app = app
    return d
