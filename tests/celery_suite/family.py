"""The processes of a worker: its own and those that it has started, to notice when one of them dies.

Source: proc(5), of ``/proc/<pid>/stat``.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["Family", "alive"]


def _stat(pid: int) -> list[str] | None:
    """The fields of a process after its name, which may hold blanks; None if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine's start; None if it is no more, or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None and int(fields[1]) == parent and fields[0] not in "ZX":
                found.append(int(entry.name))
    return sorted(found)


class Family:
    """A process and its children of now.

    Parameters:
        pid: of the parent.
    """

    def __init__(self, pid: int) -> None:
        members = {one: alive(one) for one in (pid, *_children(pid))}
        self._members = {one: began for one, began in members.items() if began is not None}

    @property
    def pids(self) -> list[int]:
        """The ids of those that are watched."""
        return sorted(self._members)

    def dead(self) -> list[int]:
        """Those that have died since this was last asked, or have been replaced by another of the same id."""
        gone = [pid for pid, began in self._members.items() if alive(pid) != began]
        for pid in gone:
            del self._members[pid]
        return sorted(gone)
