"""How much processor time the threads of a process have had, and whether they want more.

It tells code that computes without end from a process that is stopped, or that a busy machine does not let
run.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

__all__ = ["RUNNABLE", "STOPPED", "ThreadTime", "thread_time", "thread_times", "wakings"]

RUNNABLE = "R"
"""The state of a thread that runs, or would if it got a processor."""
STOPPED = frozenset("Tt")
"""Stopped by a signal or a debugger."""


class ThreadTime(NamedTuple):  # dataclasses alone would take a megabyte in the supervisor
    """One thread at one moment.

    Parameters:
        state: one letter, as ps shows it.
        used: seconds of processor time since its start, in steps of 0.01.
    """

    state: str
    used: float


def thread_time(thread: int, process: int | None = None) -> ThreadTime | None:
    """Look at one thread; None if it is gone, or where that can't be seen (only Linux shows it).

    Parameters:
        thread: as the operating system numbers it.
        process: whose it is; None for the calling one.

    Source: proc(5), ``/proc/pid/task/tid/stat``.
    """
    try:
        with open(f"/proc/{process or 'self'}/task/{thread}/stat", "rb", buffering=0) as file:
            # The thread's name comes first, in brackets, and may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ThreadTime(fields[0].decode(), ticks / os.sysconf("SC_CLK_TCK"))


def thread_times(process: int) -> dict[int, ThreadTime]:
    """Look at all threads of a process; nothing if it is gone, or where that can't be seen."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir(f"/proc/{process}/task"):
            seen = thread_time(int(entry), process)
            if seen is not None:
                found[int(entry)] = seen
    return found


def wakings(thread: int, process: int) -> int:
    """How often a thread has gone to sleep by itself, and so has woken; 0 where that can't be seen.

    Parameters:
        thread, process: as the operating system numbers them.

    Source: proc(5), ``/proc/pid/task/tid/status``.
    """
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{process}/task/{thread}/status", "rb", buffering=0) as file,
    ):
        for line in file.read().splitlines():
            if line.startswith(b"voluntary_ctxt_switches:"):
                return int(line.split()[1])
    return 0
