"""A chain: calls that follow one another, each with the result of the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from greenq.canvas.chord import chord
from greenq.canvas.composition import Composition
from greenq.canvas.folding import fold
from greenq.canvas.group import group, restored
from greenq.canvas.item import Item
from greenq.canvas.members import each_of, member_signature
from greenq.canvas.signature import Signature
from greenq.canvas.stamping import StampingVisitor
from greenq.eagerresult import EagerResult
from greenq.errors import InvalidOption
from greenq.optionchecks import listed
from greenq.resultset import AnyResult, ResultSet, topmost
from greenq.sender import Sender

__all__ = ["chain"]

_CONSUMED = ("group_id", "chord", "task_id", "root_id", "parent_id", "group_index", "link", "link_error")
"""Options of a call that are for the whole chain; the others go to its first task."""


@Signature.register_type()
class chain(Signature):
    """Calls that follow one another: ``chain(add.s(2, 2), add.s(4))``, or ``add.s(2, 2) | add.s(4)``.

    Parameters:
        tasks: signatures, or one iterable of them. Given without options they are put together as with
            ``|``: then what comes out may be a group, or hold chords.
        options: of the first task; `app` is where it is sent.
    """

    workflow = True
    tasks = Item("tasks", "kwargs", "Its steps, in order.")
    _steps: list[Any] | None = None

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        """Put the steps together; what is no chain then is returned as it is."""
        made = dict.__new__(cls)
        if tasks and not options and (len(tasks) > 1 or not isinstance(tasks[0], Mapping)):
            steps = fold(_listed_tasks(tasks))
            if not isinstance(steps, list):
                return steps
            made._steps = steps
        return made

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.get("app")
        steps = self._steps
        if steps is None:
            steps = [member_signature(task, app) for task in _listed_tasks(tasks)]
        super().__init__("celery.chain", (), {"tasks": steps}, **options)
        self["subtask_type"] = "chain"

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read back a chain that was a plain dict on its way."""
        return restored(cls(d["kwargs"]["tasks"], **{"app": app, **(d.get("options") or {})}), d)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with these arguments for its first task."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def _found_app(self) -> Sender | None:
        found = (task._found_app() for task in self.tasks)
        return self._app or next((app for app in found if app is not None), None)

    def _cloned_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**kwargs, "tasks": [task.clone() for task in kwargs["tasks"]]}

    def unchain_tasks(self) -> list[Any]:
        """Copies of its steps, the last with the chain's callbacks, all with its errbacks."""
        steps = [task.clone() for task in self.tasks]
        for callback in listed(self.options.get("link")) if steps else ():
            steps[-1].link(callback)
        for errback in listed(self.options.get("link_error")):
            for step in steps:
                step.link_error(errback)
        return steps

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send its first step; returns the last one's result. See `Signature.apply_async`."""
        return super().apply_async(args, kwargs, **options) if self.tasks else None

    # ── applying ─────────────────────────────────────────────────────────────────────────────────────────

    def compose(self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Add the message of its first step, with the others in it; returns the last one's result."""
        given = {**self.options, **options}
        whole = {name: given.pop(name, None) for name in _CONSUMED}
        args = (*args, *self.args) if args and not self.immutable else self.args
        steps = _upgraded(_flat([task.clone() for task in self.tasks], spread=True))
        if not steps:
            return None
        if any(isinstance(step, chord) for step in steps):
            composition.require_chords()
        results = _frozen(
            steps, whole["task_id"], whole["root_id"], whole["group_id"], whole["chord"], whole["group_index"]
        )
        self.id = results[-1].id
        for errback in listed(whole["link_error"]):
            for step in steps:
                step.link_error(errback)
        for step in steps:
            step.lighten()
        if whole["link"]:
            steps[-1].extend_list_option("link", whole["link"])
        given["chain"] = [*listed(given.get("chain")), *reversed(steps[1:])]
        result = steps[0].compose(composition, args, kwargs or {}, given)
        return result if len(steps) == 1 else results[-1]

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run its steps here and now, one after the other; returns the last one's result."""
        merged = {**self.options, **options}
        links = listed(merged.pop("link", None))
        merged.pop("task_id", None)
        steps = [task for task in self.tasks if not task.is_void()] or list(self.tasks[:1])
        last: Any = None
        for step in steps:
            step = step.clone()
            if step is steps[-1] or len(steps) == 1:
                step.extend_list_option("link", links)
            if last is not None:
                args, kwargs = (last.values() if isinstance(last, ResultSet) else last._end(True),), None
            result = step.apply(args, kwargs, **merged)
            result.parent, last = last, result
            if isinstance(last, EagerResult) and last.state in ("IGNORED", "REJECTED"):
                break
        return last

    # ── fixing ids ───────────────────────────────────────────────────────────────────────────────────────

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None,
        root_id: str | None = None, parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the ids of all steps; returns the last one's result. See `Signature.freeze`."""
        steps = self.tasks[:] = _upgraded(_flat(self.tasks, spread=False))
        if not steps:
            raise InvalidOption("an empty chain has no result: it cannot be a part of another workflow")
        results = _frozen(steps, _id, root_id, group_id, chord, group_index)
        self.id = results[-1].id
        return results[-1]

    _freeze = freeze

    def completions(self) -> int:
        """How many ends a chord has to count for it: those of its last step."""
        return next((size for task in reversed(self.tasks) if (size := task.completions())), 0)

    def forget_chord(self) -> None:
        """Drop the chord from its last step."""
        super().forget_chord()
        if self.tasks:
            self.tasks[-1].forget_chord()

    def lighten(self) -> None:
        """See `Signature.lighten`."""
        for task in self.tasks:
            task.lighten()

    def spread_chords(self) -> None:
        """Make steps of its own of what follows the first task of a chord's body; see `chord.spread`."""
        steps = []
        waiting = list(reversed(self.tasks))
        while waiting:
            task = waiting.pop()
            if isinstance(task, chain):
                task = task.clone()
                task.spread_chords()
            spread = task.spread() if isinstance(task, chord) else [task]
            steps.append(task) if spread[0] is task else waiting.extend(reversed(spread))
        self.tasks = steps

    # ── changing it ──────────────────────────────────────────────────────────────────────────────────────

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Any:
        """Stamp all steps; see `Signature.stamp`."""
        visited = None if visitor is None else visitor.on_chain_start(self, **headers) or {}
        stamps = self._stamps(visited, append_stamps, headers)
        self.stamp_links(visitor, append_stamps, **stamps)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_chain_end(self, **stamps)
        return self

    def __repr__(self) -> str:
        return " | ".join(repr(task) for task in self.tasks) if self.tasks else "<chain: empty>"


def _listed_tasks(tasks: Any) -> Any:
    """The steps that a chain was given: one by one, or as one iterable."""
    return each_of(tasks[0]) if len(tasks) == 1 and not isinstance(tasks[0], Mapping) else tasks


def _flat(tasks: Iterable[Any], spread: bool) -> list[Any]:
    """The steps with chains spliced, groups of one made their member, and groups of none left out.

    Parameters:
        spread: take the steps out of chords' bodies too.
    """
    steps: list[Any] = []
    void = None
    waiting = list(reversed(list(tasks)))
    while waiting:
        task = waiting.pop()
        if isinstance(task, chain):
            waiting.extend(reversed(task.tasks))
        elif isinstance(task, group) and len(task.tasks) == 1:
            waiting.append(task.tasks[0])
        elif task.is_void():
            void = task
        elif spread and isinstance(task, chord) and (parts := task.spread())[0] is not task:
            waiting.extend(reversed(parts))
        else:
            steps.append(task)
    # A chain of nothing but an empty group has that group's result.
    return steps or ([] if void is None else [void])


def _upgraded(steps: list[Any]) -> list[Any]:
    """The steps, each group and what follows it made a chord."""
    made: list[Any] = []
    for step in reversed(steps):
        if isinstance(step, group) and made:
            step = chord(step, body=made.pop(), app=step._found_app())
        made.append(step)
    return made[::-1]


def _frozen(
    steps: list[Any], id: str | None, root_id: Any, group_id: Any, chord: Any, group_index: Any
) -> list[AnyResult]:
    """Fix the ids of steps in order; only the last one belongs to the group around the chain."""
    results = [
        *(step.freeze(root_id=root_id) for step in steps[:-1]),
        steps[-1].freeze(id, root_id=root_id, group_id=group_id, chord=chord, group_index=group_index),
    ]
    for before, after in pairwise(results):
        topmost(after).parent = before
    return results
