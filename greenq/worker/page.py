"""What one worker process shows its supervisor, in memory that both share.

The supervisor makes the page and hands it over by exec. It can be read whatever the worker is doing, also
while code that never returns holds the interpreter's lock there and nothing else of Python runs.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

__all__ = ["MARKS", "STACK_SIGNAL", "TEXT", "Block", "Page", "TaskCode"]

STACK_SIGNAL = getattr(signal, "SIGRTMAX", signal.SIGUSR2)
"""At which a worker shows its stack; no program is known to use it for anything else."""

TEXT = 480
"""Bytes for a task's id or name; longer ids are not told."""
RECORD = 512
MARK = struct.Struct(f"=ddHH{TEXT}s")
"""One running call with a hard limit: when it began, its limit, its task's number, its id."""
_pack_mark = MARK.pack_into
BLOCK = struct.Struct(f"=ddHH{TEXT}s{TEXT}s")
"""What blocks: its deadline, its limit, its id, its name."""

HEAD = 4096
CODES = 4 * 1024 * 1024
"""Bytes for the list of tasks: about 20,000 of them."""
MARKS = 16_384
"""How many calls with a hard limit can be told apart at once."""
STACK = 256 * 1024
"""Bytes for one stack: faulthandler writes at most a hundred frames."""
MARKS_AT = HEAD + CODES
STACK_AT = MARKS_AT + MARKS * RECORD
SIZE = STACK_AT + STACK

BEAT, BREATHED, READY, SINCE, WATCHER = range(5)
"""Where the numbers are, in units of 8 bytes, each written in one step."""
BLOCK_AT = 64


class Block(NamedTuple):  # dataclasses alone would take a megabyte in the supervisor
    """What keeps a process from running anything else.

    Parameters:
        id, name: the task's; empty where it is not known.
        since: `time.monotonic()` since when it blocks, as far as that is known, or else runs.
        deadline: `time.monotonic()` at which its hard limit is over, or 0.0 for none.
        limit: that limit in seconds, or 0.0.
    """

    id: str
    name: str
    since: float
    deadline: float = 0.0
    limit: float = 0.0


class TaskCode(NamedTuple):
    """Where a task's code is, to recognize it in a stack.

    Parameters:
        name: the task's.
        file, function: as stacks name them.
    """

    name: str
    file: str
    function: str


class Page:
    """Shared by a supervisor and one worker process; each field is written by the worker alone.

    Times are seconds of `time.monotonic()`, one clock for all processes of a machine. The file has no name
    and is gone with its last user.

    Parameters:
        fd: the file, which no other program that is started will inherit; None makes one, for the supervisor.
            It stays open until `close`.
    """

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = _file()
            os.ftruncate(fd, SIZE)
        else:
            os.set_inheritable(fd, False)
        self.fd = fd
        self._memory = mmap.mmap(fd, SIZE)
        self._view = memoryview(self._memory)
        self._numbers = self._view[:BLOCK_AT].cast("d")

    # ── signs of life ────────────────────────────────────────────────────────────────────────────────────

    @property
    def beat(self) -> float:
        """When a thread of the worker last ran Python code; 0.0 before its start and after its end."""
        return self._numbers[BEAT]

    @beat.setter
    def beat(self, at: float) -> None:
        self._numbers[BEAT] = at

    @property
    def watcher(self) -> int:
        """The thread that beats, as the operating system numbers it; 0 before."""
        return int(self._numbers[WATCHER])

    @watcher.setter
    def watcher(self, thread: int) -> None:
        self._numbers[WATCHER] = float(thread)

    @property
    def breathed(self) -> float:
        """When the pool last ran its own code; 0.0 while that is not looked at."""
        return self._numbers[BREATHED]

    @breathed.setter
    def breathed(self, at: float) -> None:
        self._numbers[BREATHED] = at

    @property
    def ready(self) -> bool:
        """Whether the worker is up and last reached its broker."""
        return self._numbers[READY] != 0.0

    @ready.setter
    def ready(self, value: bool) -> None:
        self._numbers[READY] = float(value)

    # ── what blocks, as far as the worker itself can see it ──────────────────────────────────────────────

    @property
    def block(self) -> Block | None:
        """What the worker says that blocks it, or None."""
        since = self._numbers[SINCE]
        if not since:
            return None
        deadline, limit, id_size, name_size, id, name = BLOCK.unpack_from(self._memory, BLOCK_AT)
        if self._numbers[SINCE] != since:
            return None  # it is being written: the next look sees it
        return Block(_text(id[:id_size]), _text(name[:name_size]), since, deadline, limit)

    @block.setter
    def block(self, block: Block | None) -> None:
        self._numbers[SINCE] = 0.0
        if block is not None:
            id, name = _bytes(block.id), _bytes(block.name)[:TEXT]
            deadline = block.deadline
            if len(id) > TEXT:  # without its id nothing can be recorded of it: it is only named
                id, deadline = b"", 0.0
            BLOCK.pack_into(
                self._memory, BLOCK_AT, deadline, block.limit, len(id), len(name), id, name
            )  # fmt: skip
            self._numbers[SINCE] = block.since

    # ── what runs with a hard limit, for stacks that name nothing but the mark ───────────────────────────

    def list_tasks(self, codes: Sequence[TaskCode]) -> None:
        """Tell which code is which task's; `mark` then needs only a task's place in this list."""
        told = list(codes)
        while True:
            data = json.dumps([[code.name, code.file, code.function] for code in told]).encode()
            if len(data) <= CODES - 8:
                break
            told = told[: len(told) // 2]
        self._memory[HEAD + 8 : HEAD + 8 + len(data)] = data
        self._memory[HEAD : HEAD + 8] = struct.pack("=q", len(data))

    def tasks(self) -> list[TaskCode]:
        """What `list_tasks` was told; empty before."""
        (size,) = struct.unpack_from("=q", self._memory, HEAD)
        if not size:
            return []
        return [TaskCode(*parts) for parts in json.loads(self._memory[HEAD + 8 : HEAD + 8 + size])]

    def mark(self, number: int, started: float, limit: float, task: int, id: bytes) -> None:
        """Tell which call runs under the mark `number`, below `MARKS`.

        Parameters:
            started, limit: when it began, and its hard limit in seconds.
            task: its place in the list of tasks.
            id: at most `TEXT` bytes.
        """
        _pack_mark(self._memory, MARKS_AT + number * RECORD, started, limit, task, len(id), id)

    def marked(self, number: int) -> Block | None:
        """The call that runs, or last ran, under this mark."""
        if not 0 <= number < MARKS:
            return None
        started, limit, task, size, id = MARK.unpack_from(self._memory, MARKS_AT + number * RECORD)
        tasks = self.tasks()
        if not started or task >= len(tasks):
            return None
        return Block(_text(id[:size]), tasks[task].name, started, started + limit, limit)

    # ── a stack, for which no Python code needs to run ───────────────────────────────────────────────────

    def show_stack_at(self, signum: int) -> None:
        """Have the stack of the thread that a signal arrives in written here; in the worker, once."""
        # Not at the top: the supervisor does not need it.
        import faulthandler

        faulthandler.register(signum, file=self.fd, all_threads=False, chain=False)

    def clear_stack(self) -> None:
        """Make room for a stack. Both processes share the place in the file at which the next one arrives."""
        size = self._memory.find(b"\0", STACK_AT) - STACK_AT
        self._memory[STACK_AT : STACK_AT + size] = bytes(size)
        os.lseek(self.fd, STACK_AT, os.SEEK_SET)

    def stack(self) -> str:
        """What has arrived since."""
        end = self._memory.find(b"\0", STACK_AT)
        return _text(self._memory[STACK_AT:end])

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Let go of the memory and the file. Idempotent."""
        if self.fd >= 0:
            self._numbers.release()
            self._view.release()
            self._memory.close()
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _file() -> int:
    """A file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("greenq-page")
    # Not at the top: this module is imported before the standard library is made green.
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
