"""What the command `greenq worker` becomes: a process that supervises, and holds what only one may hold."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, NoReturn

from greenq.errors import ConfigError
from greenq.worker.supervision.handover import (
    EXIT_MISTAKE,
    hand_over,
    interpreter,
    keep_standard_streams,
    take_over,
)
from greenq.worker.supervision.notify import Notify
from greenq.worker.supervision.pidfile import PidFile
from greenq.worker.supervision.signals import WATCHED
from greenq.worker.supervisor import Supervisor

__all__ = ["launch", "main"]


def launch(spec: dict[str, Any]) -> NoReturn:
    """Replace this process by a supervisor.

    Parameters:
        spec: ``app``, ``config`` (a path), ``overrides`` (dotted key to value and option name),
            ``processes``, ``burst``, ``shutdown_timeout`` (seconds, until the application says otherwise),
            ``health`` and ``pidfile`` (or None).
    """
    keep_standard_streams()
    fd = hand_over(spec)
    # What arrives before the supervisor listens would end it in its own way.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    os.execv(sys.executable, interpreter("greenq.worker.supervision.command", fd))


def main(fd: int) -> NoReturn:
    """Supervise the workers that the spec in the file `fd` describes, and exit as they did."""
    spec = take_over(fd)
    try:
        with contextlib.ExitStack() as held:
            if spec["pidfile"]:
                held.callback(PidFile(spec["pidfile"]).close)
            supervisor = Supervisor(spec)
            notify = Notify(os.environ)
            held.callback(notify.close)
            supervisor.notify(notify)
            if spec["health"]:
                supervisor.listen(spec["health"])
            code = supervisor.run()
    except ConfigError as mistake:
        print(f"greenq worker: {mistake}", file=sys.stderr)
        code = EXIT_MISTAKE
    sys.exit(code)
