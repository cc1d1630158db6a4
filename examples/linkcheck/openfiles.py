"""A socket is an open file, and many systems allow a process only 1,024 until it asks for more."""

from __future__ import annotations

import resource

__all__ = ["allow"]


def allow(wanted: int) -> int:
    """Raise this process's limit of open files, and that of the processes it starts, as far as is allowed.

    Parameters:
        wanted: how many files are needed.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
