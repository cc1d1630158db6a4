"""One task over many arguments: in one call (`xmap`, `xstarmap`), or in calls of `n` at a time (`chunks`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from traceback import format_exc
from typing import Any, ClassVar

from greenq.asyncresult import AsyncResult
from greenq.canvas.composition import Composition
from greenq.canvas.group import group
from greenq.canvas.ids import new_id
from greenq.canvas.signature import Signature, maybe_signature
from greenq.eagerresult import EagerResult
from greenq.errors import InvalidOption
from greenq.message import FAILURE, SUCCESS
from greenq.sender import Sender

__all__ = ["chunks", "xmap", "xstarmap"]


class Mapped(Signature):
    """A task that is called for each of many arguments, all in one call and in their order.

    Parameters:
        task: a signature of the task.
        it: the arguments.
        options: of the one call.
    """

    workflow = True
    runs: ClassVar[str]
    """The task that calls it for each."""

    def __init__(self, task: Any, it: Iterable[Any], **options: Any) -> None:
        values = it if isinstance(it, list | tuple) else list(it)
        parts = {"task": _signature(task), "it": values}
        super().__init__(self.runs, (), parts, **{"immutable": True, **options})

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read it back from a plain dict."""
        parts = d["kwargs"]
        return cls(parts["task"], parts["it"], app=app, **(d.get("options") or {}))

    def _found_app(self) -> Sender | None:
        return self._app or self.kwargs["task"]._found_app()

    def compose(
        self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> AsyncResult[Any]:
        """Add its one message, to the queue of the task that it calls."""
        given = {name: value for name, value in options.items() if value is not None}
        _, own, merged = self._merge(None, None, given)
        merged.setdefault("route_name", self.kwargs["task"].task)
        merged.setdefault("ignore_result", False)
        return composition.add(self.task, (), {"task": own["task"], "it": list(own["it"])}, merged)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> EagerResult[Any]:
        """Run the task with each of them here and now."""
        id = options.get("task_id") or self.id or new_id()
        try:
            return EagerResult(id, self._values(), SUCCESS)
        except Exception as error:
            return EagerResult(id, error, FAILURE, format_exc())

    def _values(self) -> list[Any]:
        call = self.kwargs["task"].type
        return [call(value) for value in self.kwargs["it"]]


@Signature.register_type()
class xmap(Mapped):
    """Call a task with each of many values: ``add_one.map([1, 2, 3])`` gives ``[2, 3, 4]``."""

    runs = "celery.map"

    def __repr__(self) -> str:
        return f"[{self.kwargs['task'].task}(x) for x in {self.kwargs['it']!r:.100}]"


@Signature.register_type()
class xstarmap(Mapped):
    """Call a task with each of many tuples of arguments: ``add.starmap([(1, 2), (3, 4)])`` is ``[3, 7]``."""

    runs = "celery.starmap"

    def _values(self) -> list[Any]:
        call = self.kwargs["task"].type
        return [call(*values) for values in self.kwargs["it"]]

    def __repr__(self) -> str:
        return f"[{self.kwargs['task'].task}(*x) for x in {self.kwargs['it']!r:.100}]"


@Signature.register_type()
class chunks(Signature):
    """The calls of a task over many tuples of arguments, so many at a time: a group of `xstarmap`.

    Parameters:
        task: a signature of the task.
        it: tuples of arguments.
        n: how many of them each message holds.
        options: of all messages.
    """

    workflow = True

    def __init__(self, task: Any, it: Iterable[Any], n: int, **options: Any) -> None:
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise InvalidOption(f"the size of a chunk must be an integer, 1 or more, not {n!r:.80}")
        values = it if isinstance(it, list | tuple) else list(it)
        parts = {"task": _signature(task), "it": values, "n": n}
        super().__init__("celery.chunks", (), parts, **{"immutable": True, **options})
        self["subtask_type"] = "chunks"

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read it back from a plain dict."""
        parts = d["kwargs"]
        return cls(parts["task"], parts["it"], parts["n"], app=app, **(d.get("options") or {}))

    def _found_app(self) -> Sender | None:
        return self._app or self.kwargs["task"]._found_app()

    def __call__(self, **options: Any) -> Any:
        """Send all of them; returns a `GroupResult`."""
        return self.apply_async(**options)

    def compose(self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Add a message for each part."""
        given = {"route_name": self.kwargs["task"].task, **options}
        return self.group().compose(composition, args, kwargs, given)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run all parts here and now; returns a `GroupResult`."""
        return self.group().apply(args, kwargs, **options)

    def group(self) -> group:
        """The group that it stands for."""
        rest = iter(self.kwargs["it"])
        parts = iter(lambda: list(islice(rest, self.kwargs["n"])), [])
        app = self._found_app()
        return group([xstarmap(self.kwargs["task"], part, app=app) for part in parts], app=app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Sender | None = None) -> Any:
        """Send them at once."""
        return cls(task, it, n, app=app)()


def _signature(task: Any) -> Any:
    """A task to be called, as a signature."""
    if isinstance(task, Mapping):
        return maybe_signature(task)
    return task.s() if hasattr(task, "s") else Signature(task)
