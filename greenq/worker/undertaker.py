"""A short-lived process that records the end of a task which ran past its hard limit and can't be ended.

The worker that runs it can't do that itself: nothing else runs there. The supervisor starts this before it
kills the worker, so that nobody gets the task's message in between and runs it again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from greenq.worker.process import overrides, tell
from greenq.worker.supervision.handover import take_over

if TYPE_CHECKING:
    from greenq.app import GreenQ
    from greenq.message import Delivery
    from greenq.worker.handlers import Handler
    from greenq.worker.runner import Runner
    from greenq.worker.settler import Settler

__all__ = ["RECORDED", "main", "record"]

RECORDED = b"recorded"
"""What the supervisor is told."""
LONGEST = 30.0
"""Seconds after which it ends, wherever it is."""


def main(fd: int) -> NoReturn:
    """Record what the spec in the file `fd` says when the supervisor wants it, tell it so, and exit."""
    spec = take_over(fd)
    line = socket.socket(fileno=spec["line"])
    line.set_inheritable(False)
    # Not by a signal, which the application may use, nor by a thread, which may not run.
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=os.open(os.devnull, os.O_WRONLY))
    from greenq.errors import GreenqError

    code = 1
    try:
        app, runner, settler = load(spec)
        with contextlib.closing(app):
            if line.recv(1):
                record(app, runner, settler, spec["holder"], spec["name"], spec["id"], spec["limit"])
                with contextlib.suppress(OSError):  # the supervisor may have waited long enough, or be gone
                    line.send(RECORDED)
        code = 0
    except GreenqError as error:
        tell(f"greenq worker: the end of {spec['name']}[{spec['id']}] could not be recorded: {error}")
    except BaseException:
        tell(traceback.format_exc())
    os._exit(code)


def load(spec: dict[str, Any]) -> tuple[GreenQ, Runner, Settler]:
    """Load all that will be needed: the application as the worker has it, and what makes a task's outcome.

    Raises:
        GreenqError: it can't be loaded.
    """
    from greenq.loading import load_app
    from greenq.worker import logs
    from greenq.worker.nodename import node_name
    from greenq.worker.runner import Runner
    from greenq.worker.settler import Settler
    from pools.coroutines import bind

    app = load_app(spec["app"])
    app.override(overrides(spec), spec["config"])
    node = node_name(app.settings.worker.node, spec["index"])
    logs.setup(app.settings.log, node)
    settler = Settler(app.broker, app.results, app.settings.broker.timeout, 1)
    return app, Runner(app, node, bind), settler


def record(
    app: GreenQ, runner: Runner, settler: Settler, holder: str, name: str, id: str, limit: float
) -> None:
    """Record that a task ran past its hard limit, and settle its message, whoever holds it.

    Parameters:
        runner, settler: make the outcome, and commit it.
        holder: the name under which the process that runs it leases messages.
        name, id: the task's.
        limit: seconds.

    Raises:
        GreenqError: it can't be recorded.
    """
    broker = app.broker
    later: list[Callable[[], None]] = []
    runner.aside = later.append
    own = f"undertaker:{os.getpid()}:{os.urandom(8).hex()}"
    broker.lease(own, app.settings.worker.lease)
    try:
        deliveries = broker.take_over(holder, id)
        handler = runner.handlers.get(name)
        if handler is not None and handler.time_limit == limit:
            limit = handler.time_limit  # an integer stays one, as where the worker itself records it
        if deliveries:
            for delivery in deliveries:
                settler.add(runner.over_limit(delivery, limit))
            settler.stop()
            settler.run()
            if handler is not None and handler.task.rules is not None:
                forget_limits(app, deliveries, handler, holder)
        elif not broker.guarantees.hands_over or (handler is not None and not handler.acks_late):
            entomb(app, name, id, limit)
    finally:
        broker.release(own)
    for telling in later:
        telling()


def forget_limits(app: GreenQ, deliveries: Sequence[Delivery], handler: Handler, holder: str) -> None:
    """Give back what the task held of limits; if that fails, it is free when its time is over."""
    from greenq.errors import GreenqError
    from greenq.worker.gate import let_go

    for delivery in deliveries:
        with contextlib.suppress(GreenqError):
            let_go(app.throttling, delivery, handler, app.codecs, holder)


def entomb(app: GreenQ, name: str, id: str, limit: float) -> None:
    """Store the end of a task whose message only the server can give to anybody else.

    Whoever gets it finds its end recorded, and does not run it again.

    Raises:
        ConfigError: there is no result store that all workers can read.
    """
    from greenq.errors import ConfigError, TimeLimitExceeded
    from greenq.failures import describe, plain
    from greenq.message import FAILURE, Result
    from greenq.worker.records import now

    store = app.results
    if store is None or store.reply_to is not None:
        raise ConfigError(
            "with this broker that takes a result store that all workers can read: set results.url"
        )
    error = TimeLimitExceeded(limit)
    result = Result(id, FAILURE, describe(error), date_done=now(), expires=app.settings.results.expires)
    store.encode(result)
    store.put([result], app.settings.results.timeout)
    logging.getLogger("greenq.task").error(
        "%s was ended at its hard time limit of %g s", plain(f"{name}[{id}]"), limit
    )
