"""Starts worker processes."""

from __future__ import annotations

import os
import sys
from typing import Any

from greenq.worker.supervision.handover import hand_over, interpreter

__all__ = ["spawn"]


def spawn(spec: dict[str, Any]) -> tuple[int, int]:
    """Start a worker process; its id, and a pipe that it writes to when it has come up.

    Raises:
        OSError: the machine has no room for another process or file.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_inheritable(writer, True)
    fd = -1
    try:
        fd = hand_over({**spec, "ready": writer})
        pid = os.posix_spawn(
            sys.executable,
            interpreter("greenq.worker.process", fd),
            os.environ,
            # A group of its own: a terminal's Ctrl-C must reach a worker once, through this process.
            setpgroup=0,
            setsigmask=(),
        )
    except OSError:
        os.close(reader)
        raise
    finally:
        for used in (fd, writer):
            if used >= 0:
                os.close(used)
    return pid, reader
