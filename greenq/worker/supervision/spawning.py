"""Starts worker processes."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from greenq.worker.page import Page
from greenq.worker.supervision.child import Child, Gone
from greenq.worker.supervision.handover import hand_over, interpreter

__all__ = ["spawn"]

OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What the service manager told us alone: a program that a task starts must not answer in our place."""


def spawn(spec: dict[str, Any], gone: list[Gone]) -> Child:
    """Start a worker process.

    Parameters:
        spec: the command's, with ``process``, ``index`` and ``first``.
        gone: the dead whose messages it shall give back.

    Raises:
        OSError: the machine has no room for another process or file.
    """
    line, theirs = socket.socketpair()
    page = None
    fd = -1
    try:
        line.setblocking(False)
        page = Page()
        for inherited in (theirs.fileno(), page.fd):
            os.set_inheritable(inherited, True)
        fd = hand_over(
            {
                **spec,
                "release": [process for process, charge in gone if charge],
                "release_uncharged": [process for process, charge in gone if not charge],
                "supervisor": os.getpid(),
                "line": theirs.fileno(),
                "page": page.fd,
            }
        )
        pid = os.posix_spawn(
            sys.executable,
            interpreter("greenq.worker.process", fd),
            {name: value for name, value in os.environ.items() if name not in OURS},
            # A group of its own: a terminal's Ctrl-C must reach a worker once, through this process.
            setpgroup=0,
            setsigmask=(),
        )
    except OSError:
        line.close()
        if page is not None:
            page.close()
        raise
    finally:
        theirs.close()
        if fd >= 0:
            os.close(fd)
    # Else the workers that are started later would hold it too.
    os.set_inheritable(page.fd, False)
    return Child(pid, spec["process"], line, page, spec["shutdown_timeout"], gone)
