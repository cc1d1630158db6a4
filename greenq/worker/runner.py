"""One task: decode, call the user's function, and turn whatever happens into an Outcome."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from greenq.app import GreenQ
from greenq.batches import BatchItem
from greenq.canvas.owntasks import own_tasks
from greenq.canvas.replacing import Replaced
from greenq.errors import (
    EncodeError,
    GreenqError,
    Ignore,
    MessageError,
    Reject,
    Retry,
    Snooze,
    TaskSignal,
    TimeLimitExceeded,
    UnknownTask,
    WorkerLost,
)
from greenq.failures import trace_of
from greenq.message import SUCCESS, Delivery, Outcome, Result
from greenq.protocol import TaskCall, read, upgraded
from greenq.request import Request, current
from greenq.shortrepr import shortrepr
from greenq.signals import RUNS, task_received
from greenq.worker.endings import Endings
from greenq.worker.followups import FollowUps
from greenq.worker.handlers import Handler, handlers_of
from greenq.worker.hooks import Hooks
from greenq.worker.marks import Marks
from greenq.worker.page import Page
from greenq.worker.records import Records
from greenq.worker.telling import tell_expired, tell_revoked, tell_unreadable
from greenq.worker.together import run_together
from greenq.worker.told import ToldRequest, run_told
from greenq.worker.unlocking import unlock_task
from pools.errors import CallDied, Killed

if TYPE_CHECKING:
    from greenq.results.base import ResultStore

__all__ = ["Runner", "become", "this_process"]

log = logging.getLogger("greenq.runner")

CONTEXTS = 20
"""How many exceptions back a kill is looked for: a ``finally`` block seldom raises in another's."""


class Runner:
    """Runs the tasks of one application in this process.

    In pools whose calls run in other processes each process has its own: pickled, a runner is a reference
    to the one that `become` made there.

    Parameters:
        app: the application, its settings final.
        node: the worker's name, for `Request.hostname`.
        bind: the pool's, which makes coroutine functions plain.
        page: of this process, if calls with a hard limit are to be told there.
    """

    def __init__(
        self,
        app: GreenQ,
        node: str,
        bind: Callable[[Callable[..., Any]], Callable[..., Any]],
        page: Page | None = None,
    ) -> None:
        self._app = app
        self._node = node
        self._codecs = app.codecs
        stores = app.settings.results.url is not None
        self.aside: Callable[[Callable[[], None]], object] = lambda tell: tell()
        """Calls the user's code about a task that was ended from outside, where that may take its time."""
        keep = app.settings.results
        self.followups = FollowUps(app, node, bind, lambda tell: self.aside(tell))
        records = Records(self._store, keep.expires, keep.extended)
        self.endings = Endings(records, self.followups)
        unlock = unlock_task(app, records, self.followups)
        tasks = {**own_tasks(app), unlock.name: unlock, **app.tasks}
        marks = Marks(page, tasks) if page is not None else None
        self.handlers = handlers_of(tasks, bind, stores, Hooks(app.middleware()), marks)

    def __reduce__(self) -> tuple[Callable[[], Runner], tuple[()]]:
        return this_process, ()

    def run(self, delivery: Delivery) -> Outcome:
        """Run one delivery to its end. Each way to end is one return."""
        endings = self.endings
        message = delivery.message
        # What `self.read` finds, for nearly every message and so without its call.
        name = message.headers.get("task") if message and type(message.headers) is dict else None
        handler = self.handlers.get(name) if type(name) is str else None
        try:
            if handler is not None and message is not None:
                call = read(message, self._codecs)
            else:
                handler, call = self.read(delivery)
        except MessageError as error:
            tell_unreadable(self._app, delivery, error)
            return endings.unreadable(delivery, error)
        request = Request(call, message, self._node, delivery.attempts)
        if call.expires is not None and call.expires <= time.time():
            tell_expired(handler.task, request)
            return endings.expired(delivery, handler, request)
        if call.eta is not None and call.eta > time.time():
            return endings.postponed(delivery, call.eta)
        # Each call runs in a context of its own: nothing to reset afterwards.
        current.set(request)
        try:
            if RUNS:
                handler.lifecycle.begin(request)
            if handler.track_started:
                self._record_start(request)
            run = handler.call if call.time_limit is None else handler.limited
            value = run(*call.args, **call.kwargs)
        except Killed:
            raise
        except TaskSignal as signal:
            return self._signalled(delivery, handler, request, signal)
        except BaseException as error:
            if was_killed(error):
                raise
            return self._raised(delivery, handler, request, error)
        if RUNS or handler.watched:
            return self._succeeded(delivery, handler, request, value)
        return endings.succeeded(delivery, handler, request, value)

    def run_told(self, delivery: Delivery) -> Outcome:
        """The same as `run`, and how it ended is noted for events."""
        return run_told(self, delivery, self._node)

    def run_batch(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Run many deliveries of one task at once; the end of each."""
        return run_together(self, deliveries)

    def item(self, delivery: Delivery, call: TaskCall) -> BatchItem:
        """The request of a member of a batch."""
        return BatchItem(call, delivery.message, self._node, delivery.attempts)

    def carry_out(self, delivery: Delivery, handler: Handler, request: Request, limited: bool) -> Outcome:
        """What `run` does once a delivery is read, for a member of a batch; there it would cost each a call.

        Parameters:
            limited: the call has a hard limit of its own.
        """
        try:
            if RUNS:
                handler.lifecycle.begin(request)
            if handler.track_started:
                self._record_start(request)
            value = (handler.limited if limited else handler.call)(*request.args, **request.kwargs)
        except Killed:
            raise
        except TaskSignal as signal:
            return self._signalled(delivery, handler, request, signal)
        except BaseException as error:
            if was_killed(error):
                raise
            return self._raised(delivery, handler, request, error)
        return self._succeeded(delivery, handler, request, value)

    def check(self, delivery: Delivery) -> Outcome | None:
        """Whether it can be run at all: None if so, else its end."""
        try:
            self.read(delivery)
        except MessageError as error:
            tell_unreadable(self._app, delivery, error)
            return self.endings.unreadable(delivery, error)
        return None

    def who(self, delivery: Delivery) -> tuple[str, str]:
        """Name and id of its task, for people; empty if it can't be read."""
        try:
            _, request = self.request_of(delivery)
        except MessageError:
            return "", ""
        return request.task, request.id

    # ── ended from outside, told by the consumer ─────────────────────────────────────────────────────────

    def over_limit(self, delivery: Delivery, limit: float) -> Outcome:
        """It was killed at its hard limit of so many seconds."""
        handler, request = self.request_of(delivery)
        outcome = self.endings.over_limit(delivery, handler, request, limit)
        return self._failed_outside(handler, request, TimeLimitExceeded(limit), outcome)

    def revoked(self, delivery: Delivery, signum: int | None = None) -> Outcome:
        """It was revoked: before it ran, or while it did, and was ended as by this signal."""
        handler, request = self.request_of(delivery)
        tell_revoked(handler.task, request, signum)
        return self.endings.revoked(delivery, handler, request, signum)

    def begun(self, delivery: Delivery) -> Result:
        """The record that it has begun."""
        return self.endings.records.started(self.request_of(delivery)[1], self._node)

    def returned(self, delivery: Delivery) -> Outcome:
        """It was ended because the worker stops."""
        handler, request = self.request_of(delivery)
        return self.endings.returned(delivery, handler, request)

    def lost(self, delivery: Delivery, error: BaseException) -> Outcome:
        """What ran it died, or `error` came out of it beside the function (a soft limit, as it returned)."""
        handler, request = self.request_of(delivery)
        if isinstance(error, Killed | CallDied):
            outcome = self.endings.lost(delivery, handler, request, error)
            error = WorkerLost(str(error) or None)
        else:
            outcome = self.endings.failed(delivery, handler, request, error)
        return self._failed_outside(handler, request, error, outcome)

    def _failed_outside(
        self, handler: Handler, request: Request, error: BaseException, outcome: Outcome
    ) -> Outcome:
        """Tell of a failure where no call of the pool goes on that could: beside whatever reports it."""
        outcome.shown = (shortrepr(error), None)
        if RUNS or handler.watched:
            context = contextvars.Context()
            context.run(current.set, request)
            try:
                self.aside(lambda: context.run(handler.lifecycle.failed, request, error))
            except Exception as problem:
                # As while the pool closes. The task's end must be recorded nevertheless.
                log.warning("nobody is told that %a has failed: %r", request.id, problem)
        return outcome

    def announce(self, deliveries: Iterable[Delivery]) -> None:
        """Tell the receivers of `task_received` what has arrived and can be read."""
        for delivery in deliveries:
            try:
                _, request = self.request_of(delivery)
            except MessageError:
                continue  # told when its turn comes
            task_received.send(self._app, request=request)

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────

    def read(self, delivery: Delivery) -> tuple[Handler, TaskCall]:
        """What runs a delivery, and the call that it decodes to.

        Raises:
            MessageError: it cannot be understood, or names no task.
        """
        message = delivery.message
        if message is None:
            raise MessageError(f"the envelope cannot be read: {delivery.problem}")
        # As `name_of` does, for every message and so without a call.
        name = message.headers.get("task") if type(message.headers) is dict else None
        name = name if type(name) is str else None
        handler = self.handlers.get(name) if name is not None else None
        if handler is None and name is not None:
            raise self._unknown(name)
        call = read(message, self._codecs)
        if handler is None:
            handler = self.handlers.get(call.headers["task"])
            if handler is None:
                raise self._unknown(call.headers["task"])
        return handler, call

    def upgrade(self, delivery: Delivery) -> Handler | None:
        """Make of a message of protocol 1 one of 2, by whose headers all else goes; what runs it, if any."""
        with suppress(MessageError, EncodeError):
            delivery.message = upgraded(delivery.message, self._codecs) if delivery.message else None
            return self.read(delivery)[0]
        return None

    def _unknown(self, name: str) -> UnknownTask:
        return UnknownTask(
            f"no task named {name!r:.200} is registered in this worker: import its module in the application "
            f"or route it to a queue that other workers serve (`greenq tasks` lists what there is)"
        )

    def request_of(self, delivery: Delivery) -> tuple[Handler, Request]:
        """What runs a delivery, and its request.

        Raises:
            MessageError: it cannot be understood, or names no task.
        """
        handler, call = self.read(delivery)
        return handler, Request(call, delivery.message, self._node, delivery.attempts)

    def _succeeded(self, delivery: Delivery, handler: Handler, request: Request, value: Any) -> Outcome:
        """The same end, and somebody wants to know."""
        outcome = self.endings.succeeded(delivery, handler, request, value)
        if type(request) is ToldRequest:
            request.note(value)
        if outcome.state == SUCCESS:
            handler.lifecycle.succeeded(request, value)
        else:
            handler.lifecycle.failed(request, EncodeError(f"what {request.task} returned cannot be stored"))
        return outcome

    def _signalled(
        self, delivery: Delivery, handler: Handler, request: Request, signal: TaskSignal
    ) -> Outcome:
        if isinstance(signal, Retry):
            return self._retried(delivery, handler, request, signal)
        if isinstance(signal, Replaced):
            outcome = self.endings.replaced(delivery, handler, request, signal)
        elif isinstance(signal, Ignore):
            outcome = self.endings.ignored(delivery, handler, request)
        elif isinstance(signal, Snooze):
            outcome = self.endings.snoozed(delivery, handler, request, signal)
        elif isinstance(signal, Reject):
            outcome = self.endings.rejected(delivery, handler, request, signal)
        else:
            return self._failed(delivery, handler, request, signal)
        if RUNS or handler.watched:
            handler.lifecycle.ended(request, outcome.state, signal)
        return outcome

    def _raised(
        self, delivery: Delivery, handler: Handler, request: Request, error: BaseException
    ) -> Outcome:
        try:
            retry = handler.task.autoretry(error) if isinstance(error, Exception) else None
        except Exception as given_up:
            return self._failed(delivery, handler, request, given_up)
        if retry is not None:
            return self._retried(delivery, handler, request, retry)
        return self._failed(delivery, handler, request, error)

    def _retried(self, delivery: Delivery, handler: Handler, request: Request, retry: Retry) -> Outcome:
        outcome = self.endings.retried(delivery, handler, request, retry)
        if type(request) is ToldRequest:
            reason = retry.exc or retry
            request.note(reason, trace_of(reason, reason.__traceback__))
        if RUNS or handler.watched:
            handler.lifecycle.retried(request, retry)
        return outcome

    def _failed(
        self, delivery: Delivery, handler: Handler, request: Request, error: BaseException
    ) -> Outcome:
        outcome = self.endings.failed(delivery, handler, request, error)
        if type(request) is ToldRequest:
            request.note(error, trace_of(error, error.__traceback__))
        if RUNS or handler.watched:
            handler.lifecycle.failed(request, error)
        return outcome

    def _record_start(self, request: Request) -> None:
        store = self._store()
        if store is None or request.ignore_result:
            return
        try:
            store.put([self.endings.records.started(request, self._node)], self._app.settings.results.timeout)
        except GreenqError as error:
            # It is there to be watched: no reason not to run the task.
            log.warning("the start of %a is not recorded: %s", request.id, error)

    def _store(self) -> ResultStore | None:
        return self._app.results


def was_killed(error: BaseException) -> bool:
    """Whether it came out of what a call did while it was being killed, as in a ``finally`` block."""
    seen: BaseException | None = error
    for _ in range(CONTEXTS):
        if seen is None or isinstance(seen, Killed):
            break
        seen = seen.__context__
    return isinstance(seen, Killed)


_runner: Runner | None = None
_begin: Callable[[], None] | None = None


def become(runner: Runner, begin: Callable[[], None] | None = None) -> None:
    """Make `runner` the one that deliveries sent to this process, and to its children, are run by.

    Parameters:
        begin: called once in each of these processes, before its first delivery.
    """
    global _runner, _begin
    _runner = runner
    _begin = begin


def this_process() -> Runner:
    """The runner of this process."""
    global _begin
    assert _runner is not None, "deliveries reached a process that was not set up to run them"
    if _begin is not None:
        begin, _begin = _begin, None
        begin()
    return _runner
