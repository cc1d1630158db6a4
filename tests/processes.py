"""Processes that tests start: how they are ended, and whether one still lives."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

__all__ = ["lives", "stop"]


def stop(process: subprocess.Popen[Any], patience: float = PATIENCE) -> int:
    """End a process as an operator does, and kill it if that takes longer than so many seconds.

    Returns:
        Its exit code.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        process.kill()
    return process.wait()


def lives(pid: int) -> bool:
    """Whether a process can still do something: there is one, and it is no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
