"""How much memory a process has."""

from __future__ import annotations

import os
import sys

__all__ = ["resident"]


def resident(pid: int | None = None) -> int:
    """Resident memory in bytes; 0 where the system does not tell.

    Parameters:
        pid: a process id; None for this process, of which every system tells at least the most it ever had.
    """
    try:
        with open(f"/proc/{'self' if pid is None else pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        if pid is not None:
            return 0
        import resource

        # In kilobytes, but on macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
