"""What follows a task's end in a workflow: callbacks, the chain's next link, errbacks, its part of a chord.

Everything that is sent has an id that is fixed beforehand, or derived from the task's own: a second run of
the same end, after a death in between, repeats it.

Source: celery/app/trace.py (``_dispatch_callbacks_and_chain``), celery/backends/base.py (``mark_as_failure``,
``_fail_chain``, ``_call_task_errbacks``, ``chord_error_from_stack``).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from greenq.app import GreenQ
from greenq.canvas.sending import compose_signature
from greenq.chords import ChordOpening, ChordPart
from greenq.errors import GreenqError, MessageError
from greenq.failures import describe, text_of
from greenq.message import FAILURE, Delivery, Message, Result
from greenq.optionchecks import listed
from greenq.protocol import EMBED, read
from greenq.request import Request

__all__ = ["Doomed", "FollowUps", "Following", "doomed"]

log = logging.getLogger("greenq.canvas")

DEEPEST = 200
"""Signatures inside signatures; more is no workflow but an attack."""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(slots=True)
class Doomed:
    """A call that will never run, as what it should have followed has failed.

    Parameters:
        signature: its signature; it has an id.
        errbacks: what was linked to it.
        children: the results of the errbacks that were sent, as results keep them.
    """

    id: str
    signature: Mapping[str, Any]
    errbacks: list[Any]
    children: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Following:
    """What an end sends and decides beside the task's own result; see `Outcome` for the names."""

    publishes: list[Message] = field(default_factory=list)
    openings: list[ChordOpening] = field(default_factory=list)
    parts: list[ChordPart] = field(default_factory=list)
    doomed: list[Doomed] = field(default_factory=list)


class FollowUps:
    """Works out what follows, in the process where the task ran; nothing is sent from here.

    Parameters:
        node: the worker's name, for `Request.hostname`.
        bind: the pool's, which makes coroutine functions plain.
        aside: calls the user's code about tasks that were ended from outside, where that may take its time.
    """

    def __init__(
        self,
        app: GreenQ,
        node: str,
        bind: Callable[[Callable[..., Any]], Callable[..., Any]],
        aside: Callable[[Callable[[], None]], object],
    ) -> None:
        self._app = app
        self._node = node
        self._bind = bind
        self._aside = aside
        self._expires = app.settings.results.expires
        self.stores = app.settings.results.url is not None
        """Whether there is a result store at all."""

    def request_of(self, delivery: Delivery) -> Request | None:
        """The call in a message that is given up; None if it can't be read, or nothing follows it."""
        message, codecs = delivery.message, self._app.codecs
        if message is None or codecs.is_unsafe(message.content_type):
            # What may have ended one process after the other must not be unpickled once more.
            return None
        try:
            call = read(message, codecs)
        except MessageError:
            return None
        if call.embed is EMBED:
            return None
        return Request(call, message, self._node, delivery.attempts)

    # ── it returned ──────────────────────────────────────────────────────────────────────────────────────

    def of_success(self, request: Request, value: Any, state: str) -> Following:
        """What follows a value: callbacks, the next link, the task's part of its chord.

        The results of what is sent become children of the request.

        Raises:
            GreenqError: something of it cannot be sent.
        """
        following = Following()
        embed = request.embed
        for role, signature, options in _callbacks(embed):
            self._compose(following, request, signature, (value,), role, options)
        self._count(following, request, state, value)
        return following

    def _compose(
        self, following: Following, request: Request, signature: Any, args: Any, role: str, options: Any
    ) -> None:
        made = compose_signature(
            self._app, signature, args, request=request, seed=f"{request.id}/{role}", **options
        )
        following.publishes += made.messages
        following.openings += made.openings
        if made.children and self._app.keeps_trail(request.task):
            request.children.extend(made.children)

    # ── it failed ────────────────────────────────────────────────────────────────────────────────────────

    def of_failure(
        self,
        request: Request,
        error: BaseException,
        trace: str | None,
        outside: bool = False,
        record: Result | None = None,
    ) -> Following:
        """What follows an exception: the chain's rest and the chord fail too, and errbacks are called.

        Errbacks that take request, exception and traceback are called here and now, as Celery does.

        Parameters:
            trace: the traceback as text.
            outside: no call of the pool goes on in which they could be called: it is done aside.
            record: the failure, which is stored before an errback is called that may look for it.
        """
        following = Following()
        embed = request.embed
        described = describe(error)
        self._count(following, request, FAILURE, described)
        for link in embed.get("chain") or ():
            following.doomed += doomed(link)
        for one in following.doomed:
            self.count_signature(following, one.signature, described)
        errbacks = embed.get("errbacks") or ()
        if record is not None and any(map(self._takes_more_than_an_id, errbacks)):
            self._store_now(record)
        self.call_errbacks(following, request, errbacks, error, trace, outside)
        return following

    def _store_now(self, record: Result) -> None:
        store = self._app.results
        try:
            if store is not None:
                store.put((record,), self._app.settings.results.timeout)
        except GreenqError as problem:
            # It is stored with the task's end in any case.
            log.warning("the errbacks of %a are called before its failure is stored: %s", record.id, problem)

    def of_revocation(self, request: Request, state: str, error: BaseException) -> Following:
        """What follows when a task is not run at all: its chord fails; nothing else, as in Celery."""
        following = Following()
        self._count(following, request, state, describe(error))
        return following

    def call_errbacks(
        self,
        following: Following,
        request: Request,
        errbacks: Sequence[Any],
        error: BaseException,
        trace: str | None,
        outside: bool = False,
    ) -> None:
        """Call errbacks in the form that each takes; those that get the failed task's id only are sent."""
        sent = []
        for errback in errbacks:
            if self._takes_more_than_an_id(errback):
                call = partial(self._call, errback, request, error, trace)
                self._aside(call) if outside else call()
            else:
                sent.append(errback)
        if not sent:
            return
        try:
            self._compose(following, request, _group(sent), (request.id,), "errbacks", {})
        except GreenqError:
            # One of them is at fault: the others are sent all the same.
            for place, errback in enumerate(sent):
                try:
                    self._compose(following, request, errback, (request.id,), f"errback/{place}", {})
                except GreenqError as problem:
                    log.error("an errback of %a cannot be sent: %s", request.id, problem)

    def _takes_more_than_an_id(self, errback: Mapping[str, Any]) -> bool:
        task = self._app.tasks.get(errback["task"])
        if task is None or errback.get("subtask_type") or getattr(task.run, "__self__", None) is task:
            return False
        takes = task.run
        if not errback.get("immutable") and (errback.get("args") or errback.get("kwargs")):
            takes = partial(task.run, *(errback.get("args") or ()), **(errback.get("kwargs") or {}))
        for callable in (takes, task.run):
            try:
                parameters = inspect.signature(callable).parameters.values()
            except (TypeError, ValueError):
                continue
            if any(one.kind is one.VAR_POSITIONAL for one in parameters):
                return True
            return sum(one.kind in POSITIONAL for one in parameters) > 1
        return False

    def _call(
        self, errback: Mapping[str, Any], request: Request, error: BaseException, trace: str | None
    ) -> None:
        """Run an errback here: what it raises is only logged."""
        task = self._app.tasks[errback["task"]]
        given = () if errback.get("immutable") else (request, error, trace)
        try:
            self._bind(task.run)(*given, *(errback.get("args") or ()), **(errback.get("kwargs") or {}))
        except Exception as problem:
            log.exception("the errback %a of %a raised %s", task.name, request.id, text_of(problem, repr))

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, following: Following, request: Request, state: str, value: Any) -> None:
        body, group = request.embed.get("chord"), request.group
        if body is None or not group:
            return
        sender = {
            "parent_id": request.id,
            "root_id": request.root_id or request.id,
            "priority": None if request.message is None else request.message.priority,
        }
        part = ChordPart(
            group, request.id, request.group_index, state, value, dict(body), sender, self._expires
        )
        following.parts.append(part)

    def count_signature(self, following: Following, signature: Mapping[str, Any], described: Any) -> None:
        """Let a call that never runs fail the chord that it is a member of."""
        options = signature.get("options") or {}
        body, group, id = options.get("chord"), options.get("group_id"), options.get("task_id")
        if not isinstance(body, Mapping) or not isinstance(group, str) or not group:
            return
        index = options.get("group_index")
        following.parts.append(
            ChordPart(
                group, str(id), index if isinstance(index, int) else None, FAILURE, described, dict(body),
                {"parent_id": id, "root_id": options.get("root_id") or id, "priority": None}, self._expires,
            )
        )  # fmt: skip


def _callbacks(embed: Mapping[str, Any]) -> Iterable[tuple[str, Any, dict[str, Any]]]:
    """The signatures that follow a success, in the order in which Celery sends them: role, it, options."""
    callbacks: Sequence[Any] = embed.get("callbacks") or ()
    if len(callbacks) == 1:
        yield "callback", callbacks[0], {}
    elif callbacks:
        others = [call for call in callbacks if call.get("subtask_type") != "group"]
        groups = [call for call in callbacks if call.get("subtask_type") == "group"]
        for place, group in enumerate(groups):
            yield f"group/{place}", group, {}
        if others:
            yield "callbacks", _group(others), {}
    chain = embed.get("chain")
    if chain:
        yield "next", chain[-1], {"chain": list(chain[:-1])} if len(chain) > 1 else {}


def _group(tasks: Sequence[Any]) -> dict[str, Any]:
    return {
        "task": "celery.group", "args": (), "kwargs": {"tasks": list(tasks)}, "options": {},
        "subtask_type": "group", "immutable": False,
    }  # fmt: skip


def doomed(signature: Any, depth: int = 0) -> list[Doomed]:
    """The calls of a signature that have an id, and now will never run; of a group all members.

    Of a chord only the body: its members were not sent, and nobody waits for them but the body.
    """
    if not isinstance(signature, Mapping) or depth > DEEPEST:
        return []
    options = signature.get("options") or {}
    kwargs = signature.get("kwargs") or {}
    kind = signature.get("subtask_type")
    own = listed(options.get("link_error"))
    inner: list[Doomed] = []
    if kind == "chord":
        inner = doomed(kwargs.get("body"), depth + 1)
    elif kind in ("group", "chain"):
        for task in kwargs.get("tasks") or ():
            inner += doomed(task, depth + 1)
    for link in listed(options.get("chain")):
        inner += [Doomed(one.id, one.signature, []) for one in doomed(link, depth + 1)]
    id = options.get("task_id")
    found = {one.id: one for one in inner}
    if isinstance(id, str) and id and id not in found:
        found[id] = Doomed(id, signature, [])
    if own and isinstance(id, str) and id in found:
        found[id].errbacks += [errback for errback in own if errback not in found[id].errbacks]
    return list(found.values())
