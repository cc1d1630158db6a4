"""Celery's signals: functions that are told when something happens, without its code knowing them.

    >>> from greenq.signals import task_failure
    >>> @task_failure.connect
    ... def tell(sender, task_id, exception, **kwargs):
    ...     print(f"{sender.name} failed: {exception!r}")
    >>> task_failure.disconnect(tell)
    True

Whoever sends looks first whether anybody listens, so a signal without receivers costs nothing. Receivers may
be connected and disconnected at any time, also while a worker runs.

Source: celery/signals.py and celery/utils/dispatch/signal.py: names, arguments and rules; the manual's page
"Signals" has the list, and what each is told.
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from greenq.errors import SoftTimeLimitExceeded

__all__ = ["RUNS", "Signal"]

log = logging.getLogger("greenq.signals")

Receiver = Callable[..., Any]

_connecting = threading.Lock()
"""Held while receivers change; never while they are called."""


class Signal:
    """One kind of event, and who is told of it.

    Parameters:
        name: as Celery calls it.
        heard: a set that holds the signal while anybody listens to it.

    Attributes:
        receivers: who listens: empty if nobody does. Replaced, never changed, by `connect`.
    """

    def __init__(self, name: str, heard: set[Signal] | None = None) -> None:
        self.name = name
        self.receivers: tuple[_Connection, ...] = ()
        self._heard = heard

    # ── who listens ──────────────────────────────────────────────────────────────────────────────────────

    def connect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
    ) -> Any:
        """Have `receiver` called at each event; also as a decorator, with or without arguments.

        Parameters:
            receiver: takes ``**kwargs``, for what is told may become more.
            sender: tell only what this one sends; None for all.
            weak: forget the receiver when nothing else refers to it; a function that is made inside another
                needs ``weak=False``.
            dispatch_uid: receivers with the same one count as one: only the first stays connected.

        Raises:
            ValueError: the receiver does not take ``**kwargs``.
        """
        if receiver is None:
            return lambda receiver: self.connect(receiver, sender, weak, dispatch_uid)
        _require_kwargs(receiver)
        made = _Connection(self, receiver, sender, weak, dispatch_uid)
        with _connecting:
            if all(one.key != made.key for one in self.receivers):
                self._listen((*self.receivers, made))
        return receiver

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Hashable = None,
    ) -> bool:
        """Do not call `receiver` any more; name it as it was connected.

        Parameters:
            weak: without effect.

        Returns:
            True if it was connected.
        """
        key = _key(receiver, sender, dispatch_uid)
        with _connecting:
            before = self.receivers
            self._listen(tuple(one for one in before if one.key != key))
            return len(self.receivers) < len(before)

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody would be told of an event of this sender."""
        return any(one.wants(_identity(sender)) for one in self.receivers)

    def _listen(self, receivers: tuple[_Connection, ...]) -> None:
        self.receivers = receivers
        if self._heard is not None:
            (self._heard.add if receivers else self._heard.discard)(self)

    def _forget(self, connection: _Connection) -> None:
        """Drop a receiver that is gone. The collector may call this in the middle of `connect`."""
        if _connecting.acquire(blocking=False):
            try:
                self._listen(tuple(one for one in self.receivers if one is not connection))
            finally:
                _connecting.release()

    # ── an event ─────────────────────────────────────────────────────────────────────────────────────────

    def send(self, sender: Any = None, **named: Any) -> list[tuple[Receiver, Any]]:
        """Tell everybody who listens. What a receiver raises is logged, and the others are told nevertheless.

        Returns:
            Each receiver, with what it returned or raised.

        Raises:
            SoftTimeLimitExceeded: the running task's limit came while a receiver worked.
        """
        answers: list[tuple[Receiver, Any]] = []
        identity = _identity(sender)
        for connection in self.receivers:
            receiver = connection.get()
            if receiver is None:
                self._forget(connection)
                continue
            if not connection.wants(identity):
                continue
            try:
                answer = receiver(signal=self, sender=sender, **named)
            except SoftTimeLimitExceeded:
                raise
            except Exception as error:
                log.exception(
                    "%s, a receiver of %s, failed; nothing else changes", _name(receiver), self.name
                )
                answer = error
            answers.append((receiver, answer))
        return answers

    send_robust = send

    def __repr__(self) -> str:
        return f"<Signal {self.name}: {len(self.receivers)} receivers>"


class _Connection:
    """A receiver that is connected to a signal."""

    __slots__ = ("_reference", "_sender", "key")

    def __init__(
        self, signal: Signal, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable
    ) -> None:
        self.key = _key(receiver, sender, dispatch_uid)
        # A sender that is compared by its identity must live as long, or another could get its address.
        self._sender = (sender, _identity(sender)) if sender is not None else None
        self._reference: Callable[[], Receiver | None]
        if weak:
            kind: Any = weakref.WeakMethod if inspect.ismethod(receiver) else weakref.ref
            self._reference = kind(receiver, lambda _: signal._forget(self))
        else:
            self._reference = lambda: receiver

    def get(self) -> Receiver | None:
        """The receiver; None once it is gone."""
        return self._reference()

    def wants(self, sender: Hashable) -> bool:
        """Whether it is told what this sender sends."""
        return self._sender is None or self._sender[1] == sender


def _key(receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> tuple[Hashable, Hashable]:
    return (_identity(receiver) if dispatch_uid is None else dispatch_uid), _identity(sender)


def _identity(target: Any) -> Hashable:
    """What two mentions of the same object have in common: text is itself, a method is its object's."""
    if target is None or isinstance(target, str | bytes):
        return target
    if inspect.ismethod(target):
        return id(target.__self__), id(target.__func__)
    return id(target)


def _require_kwargs(receiver: Receiver) -> None:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(f"a signal's receiver must take **kwargs, and {_name(receiver)} does not: add it")


def _name(receiver: Receiver) -> str:
    return getattr(receiver, "__qualname__", None) or repr(receiver)


RUNS: set[Signal] = set()
"""The signals about runs of tasks that anybody listens to: one look tells a worker that there are none."""

# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────
before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")

# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────
task_prerun = Signal("task_prerun", RUNS)
task_postrun = Signal("task_postrun", RUNS)
task_success = Signal("task_success", RUNS)
task_failure = Signal("task_failure", RUNS)
task_retry = Signal("task_retry", RUNS)
task_internal_error = Signal("task_internal_error", RUNS)

# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────
task_received = Signal("task_received")
task_revoked = Signal("task_revoked")
task_rejected = Signal("task_rejected")
task_unknown = Signal("task_unknown")

# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────
celeryd_init = Signal("celeryd_init")
celeryd_after_setup = Signal("celeryd_after_setup")
worker_init = Signal("worker_init")
worker_process_init = Signal("worker_process_init")
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down")
worker_process_shutdown = Signal("worker_process_shutdown")
worker_shutdown = Signal("worker_shutdown")
