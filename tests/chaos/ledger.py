"""What happened, written outside the broker in a way that outlives a SIGKILL.

Each record is a line of a file that every process appends to; the kernel keeps what was written, whatever
becomes of the writer. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Entry", "Follower", "Ledger", "main_process"]

SENT, UNSURE = "sent", "unsure"
"""A call was confirmed to its producer; it may or may not have arrived."""
UP = "up"
"""A worker process has come up."""
GOT, START, END = "got", "start", "end"
"""A worker process was handed a message; its function began; its function came to its end."""
DONE, LATE = "done", "late"
"""The settlement was confirmed; it was refused, as the lease had been lost."""
FAULT = "fault"
"""What was done to a process (kill, term, stop, cont, child), written before it is done."""


class Entry(NamedTuple):
    """One record.

    Parameters:
        process: the worker process: of a pool's children, the one that they belong to.
        pid: who wrote it or, of a fault, whom it struck.
        id: of the task, empty in faults.
        retries: which run of it this is.
        note: the verdict of a settlement, the end of a task, the kind of a fault.
    """

    kind: str
    at: float
    process: int
    pid: int
    id: str
    retries: int
    note: str


def main_process() -> int:
    """The worker process that this one belongs to: it leads the group that all its children are in."""
    return os.getpgrp()


class Ledger:
    """A file of entries."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._fd = -1

    def write(self, kind: str, about: Iterable[tuple[str, int, str]], process: int = 0, pid: int = 0) -> None:
        """Append entries in one write.

        Parameters:
            about: id, retries and note of each.
        """
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        head = f"{kind} {time.monotonic():.6f} {process or main_process()} {pid or os.getpid()}"
        lines = "".join(f"{head} {id or '-'} {retries} {note or '-'} .\n" for id, retries, note in about)
        if lines:
            # A line feed before: the last writer may have been killed in the middle of its write.
            os.write(self._fd, f"\n{lines}".encode())

    def fault(self, kind: str, process: int, pid: int = 0) -> None:
        """Record what is about to be done to a worker process, or to another one of its group."""
        self.write(FAULT, [("", 0, kind)], process, pid or process)

    def entries(self) -> list[Entry]:
        """All of them, in the order of their times."""
        return sorted(Follower(self.path).read(), key=lambda entry: entry.at)


class Follower:
    """Reads a ledger on, from where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> Iterator[Entry]:
        """What came since the last time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._at += whole
        for line in data[:whole].decode().splitlines():
            fields = line.split(" ")
            if len(fields) != 8 or fields[-1] != ".":
                continue  # torn by a kill
            kind, at, process, pid, id, retries, note, _ = fields
            id, note = ("" if field == "-" else field for field in (id, note))
            yield Entry(kind, float(at), int(process), int(pid), id, int(retries), note)
