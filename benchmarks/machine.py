"""What the figures were taken on, and whether it had other work."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

__all__ = ["busy", "facts"]


def facts() -> dict[str, str]:
    """Name the machine."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def busy(seconds: float = 0.5) -> float:
    """Measure how many cores are at work while nothing of ours is."""
    return psutil.cpu_percent(seconds) / 100 * (os.cpu_count() or 1)
