"""How what is to be run passes from the command to its processes, and what their ends mean to it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

__all__ = [
    "EXIT_MISTAKE",
    "EXIT_UNAVAILABLE",
    "anonymous_file",
    "hand_over",
    "interpreter",
    "keep_standard_streams",
    "take_over",
]

EXIT_MISTAKE = 2
"""A worker that ends so was set up wrongly: starting it again would not help."""
EXIT_UNAVAILABLE = 69
"""A worker that ends so could not use its broker, at its start or for longer than `broker.patience`.

Source: EX_UNAVAILABLE of sysexits.h.
"""


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
            os.open(os.devnull, os.O_RDWR)
        # The command line opens what is closed too, but for itself only.
        os.set_inheritable(fd, True)


def hand_over(spec: dict[str, Any]) -> int:
    """Put `spec` into a file without a name and return its descriptor, open across exec.

    A pipe would hold 64 KiB, and block for ever with thousands of queues.
    """
    fd = anonymous_file("greenq-spec")
    with open(fd, "wb", closefd=False) as file:
        file.write(json.dumps(spec).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def anonymous_file(name: str) -> int:
    """A new file that no directory has, gone with its last descriptor.

    Parameters:
        name: for whoever looks at what a process has open.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    # Not at the top: workers import this module before they patch, and that one makes a lock.
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def take_over(fd: int) -> dict[str, Any]:
    """Read back what `hand_over` was given."""
    with open(fd, "rb") as file:
        return json.loads(file.read())  # type: ignore[no-any-return]
