"""A running task that puts a workflow in its own place, or adds to the chord that it is a member of.

Source: celery/app/task.py (``replace``, ``add_to_chord``, ``signature_from_request``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenq.canvas.chain import chain
from greenq.canvas.composition import Composition
from greenq.canvas.group import group
from greenq.canvas.ids import derived_ids
from greenq.canvas.signature import Signature, maybe_signature
from greenq.errors import Ignore, InvalidOption, ResultStoreError
from greenq.optionchecks import listed
from greenq.request import Request

__all__ = ["Replaced", "Replacing"]


class Replaced(Ignore):
    """Another task runs in the place of this one, under its id.

    Parameters:
        composition: what is to be sent for it together with this task's end.
    """

    def __init__(self, composition: Composition | None = None) -> None:
        self.composition = composition
        super().__init__("Replaced by new task")


class Replacing:
    """The part of `greenq.Task` with which a running task changes the workflow that it is in."""

    app: Any
    name: str
    request: Any

    def replace(self, sig: Signature) -> Any:
        """End here, and let a task or workflow run instead, under this one's id: ``raise self.replace(…)``.

        Whoever waits for this task gets the result of what replaces it; callbacks, errbacks, the rest of a
        chain and the chord that this task is a member of become those of the other. It is sent together with
        this task's end, and a second run after a death sends the same once more.

        Parameters:
            sig: it must not have a chord among its options. What a group returns becomes a list.

        Raises:
            Replaced: always, in a worker.
            InvalidOption: it cannot stand in for a task.
        """
        request: Request = self.request
        if "chord" in sig.options:
            raise InvalidOption(
                "what replaces a task must not be a part of a chord: replace it by the whole chord"
            )
        if isinstance(sig, chain) and not sig.tasks:
            raise InvalidOption("a task cannot be replaced by an empty chain")
        with derived_ids(f"{request.id}/replace/{request.retries}"):
            return self.on_replace(self._standing_in(sig, request))

    def on_replace(self, sig: Signature) -> Any:
        """Called by `replace` with what is to be sent; a class that overrides it returns ``super()``'s."""
        request: Request = self.request
        if request.is_eager:
            return sig.apply().get()
        composition = Composition(self.app, request, tolerant=True, anew=False)
        sig.compose(composition, None, {}, {})
        raise Replaced(composition)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add a member to the chord that this task is a member of; its body waits for that one, too.

        Parameters:
            lazy: do not send it; return the signature, to be sent later.

        Returns:
            The new member's result.

        Raises:
            ValueError: this task is no member of a chord.
            ResultStoreError: the store fails.
        """
        request: Request = self.request
        if not request.chord:
            raise ValueError(f"{self.name} is no member of a chord: nothing can be added to it")
        sig.set(
            group_id=request.group, group_index=request.group_index, chord=request.chord,
            root_id=request.root_id,
        )  # fmt: skip
        store = self.app.results
        if store is None or store.refuses_chords is not None:
            raise ResultStoreError(
                getattr(store, "refuses_chords", None) or "no results are kept: set results.url"
            )
        with derived_ids(f"{request.id}/add/{request.retries}/{len(request.children)}"):
            member = sig.freeze()
        store.grow_chord(request.group, [member.id], self.app.result_expires, self.app.result_timeout)
        return sig if lazy else sig.delay()

    def signature_from_request(
        self, request: Request | None = None, args: Any = None, kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None, **options: Any,
    ) -> Signature:  # fmt: skip
        """The running call as a signature: the same id, arguments, options and workflow.

        Parameters:
            request: of another call.
            args, kwargs, queue, options: instead of those that it has.
        """
        request = self.request if request is None else request
        given = {**request.as_execution_options(), **options}
        info = request.delivery_info
        if info.get("priority") is not None:
            given["priority"] = info["priority"]
        if queue or info.get("routing_key"):
            given["queue"] = queue or info["routing_key"]
        return Signature(
            self,
            request.args if args is None else args,
            request.kwargs if kwargs is None else kwargs,
            {name: value for name, value in given.items() if value is not None},
            app=self.app,
        )

    subtask_from_request = signature_from_request

    def _standing_in(self, sig: Any, request: Request) -> Any:
        """What replaces the task, with everything that belonged to it."""
        accumulate = Signature("celery.accumulate", (), {"index": 0}, app=self.app)
        if isinstance(sig, group):
            sig = sig | accumulate
        if isinstance(sig, chain) and isinstance(sig.tasks[-1], group):
            sig.tasks = [*sig.tasks[:-1], sig.tasks[-1] | accumulate.clone()]
        for callback in listed(request.callbacks):
            sig.link(callback)
        for errback in listed(request.errbacks):
            sig.link_error(errback)
        if isinstance(sig, chain) and "link" in sig.options:
            # They belong to what comes last, whatever is added to the chain below.
            last = sig.tasks[-1]
            last.extend_list_option("link", sig.options.pop("link"))
        sig.freeze(request.id)
        nesting = request.replaced_task_nesting + 1
        sig.set(
            chord=request.chord, group_id=request.group, group_index=request.group_index,
            root_id=request.root_id, replaced_task_nesting=nesting,
        )  # fmt: skip
        if isinstance(sig, chain):
            for task in sig.tasks:
                task.set(replaced_task_nesting=nesting)
        for following in reversed(request.chain or []):
            task = maybe_signature(following, app=self.app, clone=True)
            task.set(replaced_task_nesting=nesting)
            sig = sig | task
        return sig
