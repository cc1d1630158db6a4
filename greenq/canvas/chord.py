"""A chord: a group, its header, and what runs with all of its results, the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from greenq.canvas.composition import Composition
from greenq.canvas.group import group
from greenq.canvas.ids import new_id
from greenq.canvas.item import Item
from greenq.canvas.members import each_of, member_signature
from greenq.canvas.signature import Signature, maybe_signature
from greenq.canvas.stamping import StampingVisitor
from greenq.errors import InvalidOption
from greenq.optionchecks import listed
from greenq.resultset import topmost
from greenq.sender import Sender

__all__ = ["chord"]

_OF_CHAINS = frozenset({
    "chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id",
})  # fmt: skip
"""Options of a chain that are not those of its first task."""


@Signature.register_type()
class chord(Signature):
    """A group, and what runs with all of its results: ``chord(add.s(n, n) for n in range(10))(total.s())``.

    Parameters:
        header: the signatures that run side by side; or a group.
        body: a signature; None if it is given when the chord is called.
        task, args, kwargs: as they are in a message.
        app: where it is sent.
        options: of the header's members and of the body.
    """

    workflow = True
    tasks = Item("header", "kwargs", "The header's members; a group once their ids are fixed.")
    body = Item("body", "kwargs", "What runs with the results of all of them.")

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Sender | None = None,
        **options: Any,
    ) -> None:
        parts = {**(kwargs or {"kwargs": {}}), "header": _header(header, app)}
        parts["body"] = None if body is None else member_signature(body, app)
        super().__init__(task, args, parts, app=app, **options)
        self["subtask_type"] = "chord"

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """Read back a chord that was a plain dict on its way."""
        parts = dict(d["kwargs"])
        header, body = parts.pop("header", None), parts.pop("body", None)
        others = {
            name: value for name, value in d.items() if name in ("task", "args", "options", "immutable")
        }
        parts.setdefault("kwargs", {})
        return cls(header or (), body, kwargs=parts, app=app, **others)

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it.

        Parameters:
            body: instead of its own.
        """
        return self.apply_async((), {"body": body} if body else {}, **options)

    def _found_app(self) -> Sender | None:
        found = (task._found_app() for task in (*_members(self.tasks), self.body) if task is not None)
        return self._app or next((app for app in found if app is not None), None)

    def _cloned_kwargs(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        header, body = kwargs["header"], kwargs["body"]
        return {
            **kwargs,
            "header": header.clone() if isinstance(header, group) else [task.clone() for task in header],
            "body": None if body is None else body.clone(),
        }

    def header_group(self) -> group:
        """The header as a group."""
        if not isinstance(self.tasks, group):
            self.tasks = group(self.tasks, app=self._found_app())
        return self.tasks

    # ── applying ─────────────────────────────────────────────────────────────────────────────────────────

    def compose(self, composition: Composition, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """Add the messages of the header, with the body in each; returns the body's result."""
        args = (*args, *self.args) if args and not self.immutable else self.args
        kwargs = dict(kwargs or {})
        given = dict(options)
        id = given.pop("task_id", None) or self.options.get("task_id")
        body = kwargs.pop("body", None) or self.body
        if body is None:
            raise InvalidOption("a chord needs a body: chord(header, body) or chord(header)(body)")
        kwargs = {**(self.kwargs.get("kwargs") or {}), **kwargs}
        header = self._header_to_send()
        merged = {**self.options, **given}
        delay = {name: merged.pop(name) for name in ("countdown", "eta") if merged.get(name) is not None}
        for name in ("countdown", "eta", "task_id"):
            merged.pop(name, None)
        callbacks = {name: merged.pop(name) for name in ("link", "link_error") if name in merged}
        body = self._prepared_body(maybe_signature(body), given, merged, callbacks)
        group_id = header.options.setdefault("task_id", new_id())
        composition.require_chords()
        result = body.freeze(id or new_id(), group_id=group_id, root_id=body.root_id)
        body.lighten()
        merged.pop("chain", None)
        merged.pop("chord", None)
        follows = None if body.is_void() else body
        before = header.freeze(group_id=group_id, chord=follows, root_id=body.root_id)
        if header.tasks:
            before = header.compose(composition, args, kwargs, {**merged, "task_id": group_id, **delay})
        else:
            body.compose(composition, ([],), {}, {})
        result.parent = before
        return result

    def _header_to_send(self) -> group:
        """A copy of the header under the id that is fixed for it, if one is."""
        if isinstance(self.tasks, group):
            return self.tasks.clone()
        copies = [task.clone() for task in self.tasks]
        return group(copies, app=self._found_app(), task_id=self.options.get("task_id") or new_id())

    @staticmethod
    def _prepared_body(body: Any, given: Mapping[str, Any], merged: Mapping[str, Any], links: Any) -> Any:
        """A copy of the body with the options and callbacks that the chord is called with."""
        given = {key: value for key, value in given.items() if key not in _HEADERS_OWN}
        body = _with_callbacks(body.clone(**given), links)
        body.options.update({key: value for key, value in merged.items() if key != "parent_id"})
        if body.subtask_type == "chain":
            body.spread_chords()
        return body

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run header and body here and now; returns the body's result."""
        kwargs = dict(kwargs or {})
        links = {
            name: [*listed(self.options.get(name)), *listed(options.pop(name, None))]
            for name in ("link", "link_error")
        }
        body = _with_callbacks((kwargs.pop("body", None) or self.body).clone(), links)
        kwargs = {**(self.kwargs.get("kwargs") or {}), **kwargs}
        args = (*args, *self.args) if args and not self.immutable else self.args
        propagate = options.pop("propagate", True)
        task_id = options.get("task_id")
        before = group([task.clone() for task in _members(self.tasks)], app=self._found_app()).apply(
            args, kwargs
        )
        result = body.apply((before.values(propagate),), None, **({"task_id": task_id} if task_id else {}))
        result.parent = before
        return result

    # ── fixing ids ───────────────────────────────────────────────────────────────────────────────────────

    def freeze(
        self, _id: str | None = None, group_id: str | None = None, chord: Any = None,
        root_id: str | None = None, parent_id: str | None = None, group_index: int | None = None,
    ) -> Any:  # fmt: skip
        """Fix the ids of header and body; returns the body's result. See `Signature.freeze`."""
        header = self.header_group()
        before = header.freeze(parent_id=parent_id, root_id=root_id, chord=self.body)
        self.id = header.id
        if self.body is None:
            return None
        result = self.body.freeze(
            _id, root_id=root_id, chord=chord, group_id=group_id, group_index=group_index
        )
        topmost(result).parent = before
        return result

    _freeze = freeze

    def completions(self) -> int:
        """How many ends a chord around it has to count: those of its body."""
        return 0 if self.body is None else self.body.completions()

    def __length_hint__(self) -> int:
        return sum(task.completions() for task in _members(self.tasks))

    def forget_chord(self) -> None:
        """Drop the chord around it from its body."""
        super().forget_chord()
        if self.body is not None:
            self.body.forget_chord()

    def lighten(self) -> None:
        """See `Signature.lighten`: its body is in each member once it is sent, until then once is enough."""
        header = self.header_group()
        header.forget_chord()
        header.lighten()
        if self.body is not None:
            self.body.lighten()

    def spread(self) -> list[Any]:
        """A copy of it as steps of a chain: where its body is a chain led by a task, only that task is its
        body, and the other steps follow. Each member carries the body: it would carry all of them.
        """
        body = self.body
        if body is None or body.subtask_type != "chain" or not body.tasks or isinstance(body.tasks[0], group):
            return [self]
        made = self.clone()
        steps = made.body.unchain_tasks()
        first = {key: value for key, value in made.body.options.items() if key not in _OF_CHAINS}
        made.body = steps[0].clone(**first)
        return [made, *steps[1:]]

    # ── changing it ──────────────────────────────────────────────────────────────────────────────────────

    def link(self, callback: Any) -> Any:
        """Call another with the body's result."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call another when the body fails, which it does too when a member of the header did.

        With ``tasks.errbacks_on_headers`` each member of the header that fails calls it, too.
        """
        errback = maybe_signature(errback)
        app = self._found_app()
        on_headers = app is not None and app.settings.tasks.errbacks_on_headers
        for task in _members(self.tasks):
            if on_headers:
                task.link_error(errback.clone())
            if isinstance(task, chord):
                task.link_error(errback)
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Whether the arguments of the header's members are final."""
        for task in _members(self.tasks):
            task.set_immutable(immutable)

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Self:
        """Stamp header and body; see `Signature.stamp`."""
        visited = None if visitor is None else visitor.on_chord_header_start(self, **headers) or {}
        stamps = self._stamps(visited, append_stamps, headers)
        self.stamp_links(visitor, append_stamps, **stamps)
        for task in _members(self.tasks):
            task.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_chord_header_end(self, **stamps)
            if self.body is not None:
                visited = visitor.on_chord_body(self, **stamps) or {}
                self.body.stamp(visitor, append_stamps, **self._stamps(visited, append_stamps, stamps))
        return self

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {list(_members(self.tasks))!r}>"
        return f"chord({list(_members(self.tasks))!r}, {self.body!r})"


_HEADERS_OWN = frozenset({"parent_id", "countdown", "eta", "link", "link_error"})
"""Options of a call that are not the body's: the member that completes the header is its parent."""


def _header(header: Any, app: Sender | None) -> list[Any]:
    """The members that a chord is made of."""
    if isinstance(header, Mapping):
        header = maybe_signature(header, app=app)
        tasks = header.get("kwargs", {}).get("tasks")
        return list(tasks) if header.subtask_type in ("group", "chain") else [header]
    return [member_signature(task, app, clone=True) for task in each_of(header)]


def _members(tasks: Any) -> Any:
    return tasks.tasks if isinstance(tasks, group) else tasks


def _with_callbacks(body: Any, links: Mapping[str, Any]) -> Any:
    """Link to a body; each task of a group gets the errbacks, unless the group has its own."""
    for callback in listed(links.get("link")):
        callback = maybe_signature(callback, clone=True)
        if body.is_void():
            body.append_to_list_option("link", callback)
        else:
            body.link(callback)
    for errback in listed(links.get("link_error")):
        if isinstance(body, group):
            _link_error_inside(body, maybe_signature(errback))
        else:
            body.append_to_list_option("link_error", errback)
    return body


def _link_error_inside(sig: Any, errback: Signature, outermost: bool = True) -> None:
    if isinstance(sig, group):
        if outermost and sig.options.get("link_error") is not None:
            sig.append_to_list_option("link_error", errback.clone())
            return
        for task in sig.tasks:
            _link_error_inside(task, errback, outermost=False)
    elif isinstance(sig, chord):
        _link_error_inside(sig.body, errback)
    else:
        sig.link_error(errback.clone())
