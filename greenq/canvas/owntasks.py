"""The tasks that workflows need and that no application declares, under the names that Celery gave them.

Celery's clients and workers send them: chunks that a Celery worker has read back from a message, for one, are
a call of ``celery.chunks``.

Source: celery/app/builtins.py, celery/contrib/testing/tasks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.canvas.chord import chord
from greenq.canvas.composition import Composition
from greenq.canvas.ids import derived_ids
from greenq.canvas.maps import chunks
from greenq.canvas.signature import maybe_signature
from greenq.errors import InvalidOption
from greenq.task import Task

__all__ = ["own_tasks"]


def _map(self: Any, task: Any, it: Any) -> list[Any]:
    call = maybe_signature(task, app=self.app).type
    return [call(value) for value in it]


def _starmap(self: Any, task: Any, it: Any) -> list[Any]:
    call = maybe_signature(task, app=self.app).type
    return [call(*values) for values in it]


def _accumulate(self: Any, *args: Any, index: int | None = None) -> Any:
    return args if index is None else args[index]


def _chunks(self: Any, task: Any, it: Any, n: int) -> Any:
    parts = chunks(maybe_signature(task, app=self.app), it, n, app=self.app)
    return _sent(self, lambda composition: parts.compose(composition, None, {}, {})).as_tuple()


def _group(
    self: Any, tasks: Any, result: Any, group_id: str, partial_args: Any = (), add_to_parent: bool = True
) -> Any:
    def compose(composition: Composition) -> None:
        own = {"group_id": group_id, "add_to_parent": False}
        for task in tasks:
            maybe_signature(task, app=self.app).clone().compose(composition, partial_args, {}, own)
        if add_to_parent:
            composition.children.append(self.app.result_from_tuple(result))

    _sent(self, compose)
    return result


def _chord(self: Any, header: Any, body: Any, partial_args: Any = (), **kwargs: Any) -> Any:
    members = header if isinstance(header, list | tuple) else maybe_signature(header, app=self.app)
    made = chord(members, maybe_signature(body, app=self.app), app=self.app)
    given = kwargs.get("kwargs") or {}
    return _sent(self, lambda composition: made.compose(composition, partial_args, given, {})).as_tuple()


def _chain(self: Any, *args: Any, **kwargs: Any) -> None:
    raise InvalidOption("celery.chain names a kind of workflow and is no task: send its first task")


def _backend_cleanup(self: Any) -> None:
    store = self.app.results
    if store is not None:
        store.expire()


def _ping(self: Any) -> str:
    return "pong"


def _sent(task: Any, compose: Callable[[Composition], Any]) -> Any:
    """Send what a task makes, under ids that another run of it repeats; returns what `compose` does."""
    composition = Composition(task.app, task.request, tolerant=True, anew=False)
    with derived_ids(f"{task.request.id}/own"):
        result = compose(composition)
    composition.deliver()
    return result


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "celery.map": _map,
    "celery.starmap": _starmap,
    "celery.accumulate": _accumulate,
    "celery.chunks": _chunks,
    "celery.group": _group,
    "celery.chord": _chord,
    "celery.chain": _chain,
    "celery.backend_cleanup": _backend_cleanup,
    "celery.ping": _ping,
}


def own_tasks(app: Any) -> dict[str, Task[Any, Any]]:
    """The tasks by name, for a worker of this application."""
    return {name: Task(app, fn, name, True, {"typing": False}) for name, fn in _FUNCTIONS.items()}
