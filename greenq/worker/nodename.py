"""The name of a worker process as people see it."""

from __future__ import annotations

import platform

__all__ = ["node_name"]


def node_name(pattern: str, index: int) -> str:
    """Fill in a node's name: %h the host, %i the process's number, %n the part before the @."""
    before = pattern.partition("@")[0]
    return (
        pattern.replace("%h", platform.node())
        .replace("%i", str(index))
        .replace("%n", before)
        .replace("%%", "%")
    )
