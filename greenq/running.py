"""What a task can do while it runs: ask about its call, tell how far it is, and choose to run again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack

from greenq.errors import GreenqError, MaxRetriesExceeded, Reject, Retry, TaskSignal
from greenq.failures import describe
from greenq.message import EXCEPTION_STATES, READY_STATES, Result
from greenq.optionchecks import check_call
from greenq.options import NextOptions, TaskOptions
from greenq.request import Request, current, direct
from greenq.retrying import backoff, merge_arguments, signal
from greenq.steps import run_step

if TYPE_CHECKING:
    from greenq.sender import Sender

__all__ = ["PROGRESS", "RunningTask"]

log = logging.getLogger("greenq.task")

PROGRESS = "PROGRESS"
"""The state of a task that tells how far it is, by Celery's manual."""


class RunningTask:
    """The part of `greenq.Task` that its function uses through ``self``.

    Attributes:
        app: where its calls are sent.
        name: as messages carry it.
        run: its function.
        options: all of its options.
    """

    app: Sender
    name: str
    run: Callable[..., Any]
    options: TaskOptions

    @property
    def request(self) -> Request:
        """The call that runs now; one without an id where the task is called like a plain function."""
        request = direct.get()
        if request is not None and request.task == self.name:
            return request
        request = current.get()
        if request is not None and request.task == self.name:
            return request
        return Request.for_direct_call(self.name, (), {})

    # ── how far it is ────────────────────────────────────────────────────────────────────────────────────

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of the running task, such as its progress; an ended task's is never overwritten.

        Parameters:
            task_id: of another task; None for the running one.
            state: a name of your own, such as ``"PROGRESS"``; None keeps STARTED.
            meta: what `AsyncResult.info` shows.

        Raises:
            ResultStoreError: the store fails.
            EncodeError: the results' serializer can't carry `meta`.
        """
        request = self.request
        if task_id is None and (request.is_eager or request.called_directly):
            return
        store = self.app.results
        if store is None:
            return
        state = state or "STARTED"
        value = describe(meta) if state in EXCEPTION_STATES and isinstance(meta, BaseException) else meta
        keep = self.app.settings.results
        result = Result(
            task_id or request.id, state, value, expires=keep.expires, reply_to=request.reply_to or None
        )
        if state in READY_STATES:
            result.date_done = datetime.now(UTC).isoformat()
        store.encode(result)
        store.put((result,), keep.timeout)

    def progress(self, done: float, total: float | None = None, **more: Any) -> None:
        """Tell how far the running task is: the state PROGRESS, with ``{"current": …, "total": …}``.

        Each call is one write to the result store. `greenq call --wait` and `greenq result` show it.

        Parameters:
            done: how much is done.
            total: how much there is to do, if that is known.
            more: what else `AsyncResult.info` is to show.

        Raises:
            See `update_state`.
        """
        self.update_state(state=PROGRESS, meta={"current": done, "total": total, **more})

    def step(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn` once for this task, and give what it returned to every later run of it.

        The value is kept in the result store under the task's id, so that it survives a retry, a snooze and
        the death of the process. A step that raises is not kept. For a coroutine function it gives a
        coroutine, to be awaited.

        Parameters:
            name: of the step; a task uses each once.
            args, kwargs: what `fn` gets.

        Returns:
            What it returned, as the results' serializer gives it back (a tuple as a list in JSON).

        Raises:
            ResultStoreError: no results are kept that a later run could read, or the store fails.
            EncodeError: the results' serializer can't carry the value.
        """
        return run_step(self.app, self.request, name, fn, args, kwargs)

    # ── running again ────────────────────────────────────────────────────────────────────────────────────

    def retry(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Unpack[NextOptions],
    ) -> Retry:
        """Run the call again later: write ``raise self.retry(…)``, for it raises.

        Parameters:
            args, kwargs: what it gets then; None for what it has now.
            exc: why; raised itself once the retries are used up.
            throw: raise the `Retry`; otherwise send the next call at once, and return.
            eta, countdown: when; by default after `default_retry_delay`.
            max_retries: instead of the task's own, for this run; None for the task's own.
            options: of the next call, as for `apply_async`.

        Raises:
            Retry: to tell the worker, which sends the next call together with this one's end.
            MaxRetriesExceeded: they are used up, and there is no `exc`.
            Reject: with ``throw=False``, the next call could not be sent.
        """
        request = self.request
        if request.called_directly:
            # There is no message to repeat: the caller sees what went wrong.
            raise exc or sys.exception() or Retry("the task asks to be run again", None)
        request.max_retries = max_retries
        limit = self.options.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries >= limit:
            raise exc if exc is not None else self._exhausted(request)
        if eta is None and countdown is None:
            countdown = self.options.default_retry_delay
        given = check_call({**options, "eta": eta, "countdown": countdown}, f"retry of {self.name}")
        retry = self._retry(request, args, kwargs, exc, given)
        if throw:
            raise retry
        self._send_now(retry)
        return retry

    def autoretry(self, exc: BaseException) -> Retry | None:
        """What the task's `autoretry_for` and `retry_if` make of an exception that came out of it.

        Returns:
            The `Retry` to treat it as; None if it is not meant, or the retries are used up.
        """
        options = self.options
        if not isinstance(exc, options.autoretry_for) or isinstance(exc, options.dont_autoretry_for):
            return None
        request = self.request
        if isinstance(exc, TaskSignal | MaxRetriesExceeded) or request.called_directly:
            return None
        if options.retry_if is not None and not self._is_worth_a_retry(exc, options.retry_if):
            return None
        given = dict(options.retry_kwargs)
        limit = given.pop("max_retries", options.max_retries)
        if request.max_retries is not None:
            limit = request.max_retries
        if limit is not None and request.retries >= limit:
            return None
        if options.retry_backoff:
            given.pop("eta", None)
            given["countdown"] = backoff(
                options.retry_backoff, request.retries, options.retry_backoff_max, options.retry_jitter
            )
        elif "eta" not in given:
            given.setdefault("countdown", options.default_retry_delay)
        return self._retry(request, given.pop("args", None), given.pop("kwargs", None), exc, given)

    def _is_worth_a_retry(self, exc: BaseException, predicate: Callable[[Any], Any]) -> bool:
        try:
            return bool(predicate(exc))
        except Exception:
            # What went wrong in the task is what its caller must see, not this.
            log.exception("retry_if of %s failed; the task is not retried", self.name)
            return False

    def _retry(
        self, request: Request, args: Any, kwargs: Any, exc: BaseException | None, options: Mapping[str, Any]
    ) -> Retry:
        args, kwargs = merge_arguments(self.run, (request.args, request.kwargs), args, kwargs)
        retry = signal(exc, options["eta"] if "eta" in options else options["countdown"])
        retry.again = (
            request.args if args is None else tuple(args),
            request.kwargs if kwargs is None else kwargs,
        )
        retry.is_eager = request.is_eager
        if not request.is_eager:
            retry.publish = self.app.composer.compose_again(request, args, kwargs, options)
        return retry

    def _send_now(self, retry: Retry) -> None:
        """The task goes on: what it does next must not decide whether it is run again."""
        if retry.publish is None:
            return
        retry.sent = True
        try:
            problem = self.app.broker.publish((retry.publish,), self.app.settings.broker.publish_timeout)[0]
        except GreenqError as error:
            problem = error
        if problem is not None:
            raise Reject(f"its retry could not be sent: {problem}") from problem

    def _exhausted(self, request: Request) -> MaxRetriesExceeded:
        return MaxRetriesExceeded(
            f"{self.name}[{request.id}] was retried {request.retries} times, which is all it may: "
            f"args {request.argsrepr}, kwargs {request.kwargsrepr}"
        )
