"""How what is to be run passes from the command to its processes, and what their ends mean to it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

__all__ = ["EXIT_MISTAKE", "EXIT_RECYCLE", "hand_over", "interpreter", "keep_standard_streams", "take_over"]

EXIT_MISTAKE = 2
"""A worker that ends so was set up wrongly: starting it again would not help."""
EXIT_RECYCLE = 75
"""A worker that ends so has done its share (`worker.max_tasks`) and wants a successor."""


def interpreter(module: str, fd: int) -> list[str]:
    """The command line of a Python process that runs `module.main` on the spec in `fd`.

    ``-P`` keeps the working directory out of the way of the standard library: the application is looked for
    there, but only after greenq itself was imported.
    """
    return [sys.executable, "-P", "-c", f"from {module} import main; main({fd})"]


def keep_standard_streams() -> None:
    """Open what is closed of descriptors 0 to 2, or the next file to be opened would get what is printed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # It gets the lowest number that is free: this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def hand_over(spec: dict[str, Any]) -> int:
    """Put `spec` into a file without a name and return its descriptor, open across exec.

    A pipe would hold 64 KiB, and block for ever with thousands of queues.
    """
    # Not at the top: workers import this module before they patch, and that one makes a lock.
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(spec).encode())
        file.seek(0)
        fd = os.dup(file.fileno())
    os.set_inheritable(fd, True)
    return fd


def take_over(fd: int) -> dict[str, Any]:
    """Read back what `hand_over` was given."""
    with open(fd, "rb") as file:
        return json.loads(file.read())  # type: ignore[no-any-return]
