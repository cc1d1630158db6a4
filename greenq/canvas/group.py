"""A group: calls that run side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain as concatenated
from itertools import count, repeat
from typing import Any

from greenq.canvas.composition import Composition
from greenq.canvas.ids import new_id
from greenq.canvas.item import Item
from greenq.canvas.members import each_of, member_signature
from greenq.canvas.signature import FIXED, Signature, maybe_signature
from greenq.canvas.stamping import StampingVisitor
from greenq.errors import InvalidOption
from greenq.resultset import AnyResult, GroupResult
from greenq.sender import Sender

__all__ = ["group", "restored"]


@Signature.register_type()
class group(Signature):
    """Calls that run side by side: ``group(add.s(n, n) for n in range(10))``.

    Parameters:
        tasks: signatures; or one iterable of them, or one group to copy.
        options: for all members; `app` is where they are sent.
    """

    workflow = True
    tasks = Item("tasks", "kwargs", "Its members.")

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.get("app")
        if len(tasks) == 1:
            only = tasks[0]
            if isinstance(only, group):
                tasks = only.tasks
            elif isinstance(only, Signature):
                tasks = (only.clone(),)
            elif not isinstance(only, Mapping):
                tasks = only
        members = [member_signature(task, app) for task in each_of(tasks)]
        super().__init__("celery.group", (), {"tasks": members}, **options)
        self["subtask_type"] = "group"

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read back a group that was a plain dict on its way."""
        return restored(cls(d["kwargs"]["tasks"], app=app, **(d.get("options") or {})), d)

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Send all members."""
        return self.apply_async(partial_args, **options)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def _found_app(self) -> Sender | None:
        found = (task._found_app() for task in self.tasks)
        return self._app or next((app for app in found if app is not None), None)

    def _cloned_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**kwargs, "tasks": [task.clone() for task in kwargs["tasks"]]}

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send all members; returns a `GroupResult`. See `Signature.apply_async`."""
        return super().apply_async(args, kwargs, **options) if self.tasks else self.freeze()

    # ── applying ─────────────────────────────────────────────────────────────────────────────────────────

    def compose(self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Add the messages of all members; returns a `GroupResult`."""
        for name in ("link", "link_error"):
            if options.get(name) is not None:
                raise InvalidOption(
                    f"a group cannot be called with {name}: link to its members, or make it a chord"
                )
        add_to_parent = options.get("add_to_parent", True)
        if not self.tasks:
            return self.freeze()
        merged, id, root_id = self._merged_group_options(options)
        members = list(self._members())
        results: list[AnyResult] = []
        for index, member in enumerate(members):
            results.append(member.freeze(group_id=id, root_id=root_id, group_index=index))
        chord = merged.pop("chord", None)
        chord = members[-1].options.get("chord") if chord is None else chord
        result: AnyResult = GroupResult(id, results, app=composition.app)
        if chord is not None:
            composition.require_chords()
            shape = result.as_tuple() if any(isinstance(one, GroupResult) for one in results) else None
            composition.open_chord(id, sum(member.completions() for member in members), shape)
        for member in members:
            own = {**merged, "add_to_parent": False, "chord": chord or member.options.get("chord")}
            member.compose(composition, args, kwargs, own)
        # A single chain that ends in a group: that group's result is the one to wait for.
        if len(results) == 1 and isinstance(results[0], GroupResult):
            result = results[0]
        if add_to_parent:
            composition.children.append(result)
        return result

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run all members here and now, one after the other; returns a `GroupResult`."""
        if not self.tasks:
            return self.freeze()
        merged, id, _ = self._merged_group_options(options)
        results = [member.apply(args, kwargs, **merged) for member in self._members()]
        return GroupResult(id, results, app=self.app)

    def _merged_group_options(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], str, Any]:
        """What every member is called with, the group's id, and the root's."""
        given = {name: value for name, value in options.items() if name not in ("link", "link_error")}
        own = self.options
        merged = {**own, **{key: value for key, value in given.items() if key not in FIXED or key not in own}}
        id = merged["group_id"] = merged.pop("task_id", None) or new_id()
        for name in ("group_index", "add_to_parent"):
            merged.pop(name, None)
        return merged, id, merged.get("root_id")

    def _members(self) -> Iterator[Signature]:
        """Copies of the members; groups among them are dissolved, empty chains left out."""
        for task in self.tasks:
            if isinstance(task, group):
                yield from task._members()
            elif task.unchain_tasks():
                yield task.clone()

    # ── fixing ids ───────────────────────────────────────────────────────────────────────────────────────

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None,
        root_id: str | None = None, parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the ids of all members, and dissolve the groups among them; see `Signature.freeze`."""
        options = self.options
        id = options.setdefault("task_id", new_id())
        said = {"group_id": group_id, "chord": chord}
        options.update({name: value for name, value in said.items() if value})
        if group_index is not None:
            options["group_index"] = group_index
        root_id = options.setdefault("root_id", root_id)
        parent_id = options.setdefault("parent_id", parent_id)
        self.tasks[:] = list(self._members())
        results = [
            task.freeze(
                group_id=group_id, chord=chord, root_id=root_id, parent_id=parent_id, group_index=index
            )
            for index, task in enumerate(self.tasks)
        ]
        return GroupResult(id, results, app=self._found_app())

    _freeze = freeze

    def completions(self) -> int:
        """How many ends a chord has to count for it: those of all members."""
        return sum(task.completions() for task in self.tasks)

    def is_void(self) -> bool:
        """Whether it has no members."""
        return not self.tasks

    def forget_chord(self) -> None:
        """Drop the chord from its members."""
        super().forget_chord()
        for task in self.tasks:
            task.forget_chord()

    def lighten(self) -> None:
        """See `Signature.lighten`."""
        for task in self.tasks:
            task.lighten()

    # ── changing it ──────────────────────────────────────────────────────────────────────────────────────

    def link(self, callback: Any) -> Any:
        """Call another when the first member succeeds, without its result; see also `chord`."""
        return self.tasks[0].link(maybe_signature(callback).clone().set(immutable=True))

    def link_error(self, errback: Any) -> Any:
        """Call another for each member that fails."""
        return tuple(task.link_error(maybe_signature(errback).clone()) for task in self.tasks)

    def set_immutable(self, immutable: bool) -> None:
        """Whether the arguments of its members are final."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Give the members countdowns that grow from `start` by `step` up to `stop`, in seconds."""
        delays: Iterable[float] = count(start, step)
        if stop is not None:
            steps = [start + number * step for number in range(max(0, int((stop - start) / step)) + 1)]
            delays = concatenated(steps, repeat(steps[-1]))
        for task, delay in zip(self.tasks, delays, strict=False):
            task.set(countdown=delay)
        return self

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Any:
        """Stamp all members; see `Signature.stamp`."""
        visited = None if visitor is None else visitor.on_group_start(self, **headers) or {}
        stamps = self._stamps(visited, append_stamps, headers)
        self.stamp_links(visitor, append_stamps, **stamps)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_group_end(self, **stamps)
        return self

    def __repr__(self) -> str:
        return f"group({list(self.tasks)!r})" if self.tasks else "group(<empty>)"


def restored(made: Signature, d: Mapping[str, Any]) -> Signature:
    """The parts of a signature that its constructor does not take."""
    made["args"] = tuple(d.get("args") or ())
    made["immutable"] = bool(d.get("immutable"))
    return made
