"""Celery's signals about workers and messages, sent when greenq's are, with Celery's senders and arguments.

Source: celery/apps/worker.py, celery/worker/worker.py, celery/worker/consumer/consumer.py and
celery/worker/request.py: when each is sent, with what.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery import signals as theirs  # type: ignore[import-untyped]

from greenq import signals as ours
from greenq.contrib.celery.contexts import context_of
from greenq.request import Request

if TYPE_CHECKING:
    from greenq.contrib.celery.application import AdoptedApp

__all__ = ["WorkerView", "forward"]


class WorkerView:
    """A worker as receivers of Celery's signals look at it: as a worker, and as its consumer.

    Parameters:
        worker: greenq's.
        app: the Celery application.
    """

    def __init__(self, worker: Any, app: Any) -> None:
        self.app = app
        self.worker = worker
        self.hostname: str = worker.node
        self.pid = os.getpid()
        self.pool_cls = f"greenq:{worker.pool.name}"
        self.pool = worker.pool
        self.concurrency: int = worker.pool.capacity
        self.options: dict[str, Any] = {}
        self.loglevel = self.logfile = None
        self.consumer = self.controller = self

    def __repr__(self) -> str:
        return f"<greenq worker {self.hostname}>"


class ReceivedRequest:
    """A message that a worker has received, as receivers of Celery's signals look at it.

    Parameters:
        request: greenq's.
        app: the Celery application.
    """

    def __init__(self, request: Request, app: Any) -> None:
        self._context = context = context_of(request)
        self.app = app
        self.id = self.task_id = request.id
        self.type = request.task
        self.name = self.task_name = request.shadow or request.task
        self.task = app.tasks.get(request.task)
        self.request_dict = vars(context)
        self.args, self.kwargs = request.args, request.kwargs
        self.argsrepr, self.kwargsrepr = request.argsrepr, request.kwargsrepr
        self.hostname, self.delivery_info = request.hostname, request.delivery_info
        self.eta, self.expires = request.eta, request.expires
        self.root_id, self.parent_id = request.root_id, request.parent_id
        self.reply_to, self.correlation_id = request.reply_to, request.correlation_id
        self.message = request.message

    def __getattr__(self, name: str) -> Any:
        """The other fields are those that the task will see, as `stamps`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._context, name)

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.id}]>"


class Forwarding:
    """Sends Celery's signals for the workers of one adopted application."""

    def __init__(self, app: AdoptedApp) -> None:
        self._app = app
        self._view: WorkerView | None = None

    def connect(self) -> None:
        """Listen to greenq's signals."""
        for name in (
            "celeryd_init", "celeryd_after_setup", "worker_init", "worker_process_init", "worker_ready",
            "worker_shutting_down", "worker_process_shutdown", "worker_shutdown",
        ):  # fmt: skip
            getattr(ours, name).connect(getattr(self, name), weak=False)

    def _listen_to_messages(self) -> None:
        """The receivers of these make each message dearer, so it is done for those that have any."""
        for name in ("task_received", "task_revoked", "task_rejected", "task_unknown"):
            if getattr(theirs, name).receivers:
                getattr(ours, name).connect(getattr(self, name), weak=False)
        for name in ("before_task_publish", "after_task_publish"):
            if getattr(theirs, name).receivers:
                getattr(ours, name).connect(getattr(self, name), weak=False)

    def _is_ours(self, worker: Any) -> bool:
        return getattr(worker, "app", None) is self._app

    # ── a worker's life ──────────────────────────────────────────────────────────────────────────────────

    def celeryd_init(self, sender: Any, instance: Any, **named: Any) -> None:
        """A worker is made."""
        if self._is_ours(instance):
            self._view = WorkerView(instance, self._app.celery)
            conf = self._app.celery.conf
            theirs.celeryd_init.send(sender=sender, instance=self._view, conf=conf, options={})

    def celeryd_after_setup(self, sender: Any, instance: Any, **named: Any) -> None:
        """It has been made."""
        if self._is_ours(instance):
            conf = self._app.celery.conf
            theirs.celeryd_after_setup.send(sender=sender, instance=self._view, conf=conf)

    def worker_init(self, sender: Any, **named: Any) -> None:
        """It is about to reach its broker."""
        if self._is_ours(sender):
            self._app.celery.loader.on_worker_init()
            theirs.worker_init.send(sender=self._view)

    def worker_process_init(self, sender: Any, **named: Any) -> None:
        """This process is about to run tasks."""
        self._app.celery.loader.on_worker_process_init()
        theirs.worker_process_init.send(sender=None)

    def worker_ready(self, sender: Any, **named: Any) -> None:
        """It takes messages."""
        if self._is_ours(sender):
            theirs.worker_ready.send(sender=self._view)
            self._listen_to_messages()

    def worker_shutting_down(self, sender: Any, sig: Any, how: Any, exitcode: Any, **named: Any) -> None:
        """It takes no more messages."""
        theirs.worker_shutting_down.send(sender=sender, sig=sig, how=how, exitcode=exitcode)

    def worker_process_shutdown(self, sender: Any, pid: Any, exitcode: Any, **named: Any) -> None:
        """This process runs no more tasks."""
        theirs.worker_process_shutdown.send(sender=None, pid=pid, exitcode=exitcode)

    def worker_shutdown(self, sender: Any, **named: Any) -> None:
        """It has let go of everything."""
        if self._is_ours(sender):
            self._app.celery.loader.shutdown_worker()
            theirs.worker_shutdown.send(sender=self._view)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────

    def task_received(self, sender: Any, request: Request, **named: Any) -> None:
        """A message has arrived, and can be read."""
        if sender is self._app:
            told = ReceivedRequest(request, self._app.celery)
            theirs.task_received.send(sender=self._view, request=told)

    def task_revoked(self, sender: Any, request: Request, **named: Any) -> None:
        """A call is not run: it was revoked, or came too late."""
        original = getattr(sender, "original", None)
        if original is not None:
            named.pop("signal", None)
            theirs.task_revoked.send(
                sender=original, request=ReceivedRequest(request, self._app.celery), **named
            )

    def task_rejected(self, sender: Any, message: Any, exc: Any, **named: Any) -> None:
        """A message cannot be understood."""
        if sender is self._app:
            theirs.task_rejected.send(sender=self._view, message=message, exc=exc)

    def task_unknown(self, sender: Any, message: Any, exc: Any, name: Any, id: Any, **named: Any) -> None:
        """A message names no task of this application."""
        if sender is self._app:
            theirs.task_unknown.send(sender=self._view, message=message, exc=exc, name=name, id=id)

    def before_task_publish(self, sender: Any, **named: Any) -> None:
        """A message is about to be made of what follows a task in a workflow."""
        named.pop("signal", None)
        theirs.before_task_publish.send(sender=sender, **named)

    def after_task_publish(self, sender: Any, **named: Any) -> None:
        """The broker has confirmed one."""
        named.pop("signal", None)
        theirs.after_task_publish.send(sender=sender, **named)


def forward(app: AdoptedApp) -> None:
    """Send Celery's signals for the workers of an adopted application from now on."""
    Forwarding(app).connect()
