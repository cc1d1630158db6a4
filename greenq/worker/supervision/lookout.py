"""Sees worker processes in which something lets nothing else run, and ends them at its hard limit.

A worker names a loop in Python itself, from a native thread, and tells it on its page. Code that holds the
interpreter's lock stops that thread too: then the beat on the page is missing, the process is asked for its
stack, and the name of a frame in it tells the task (see `greenq.worker.marks`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from typing import Any

from greenq.worker.cputime import STOPPED, ThreadTime, thread_times, wakings
from greenq.worker.page import STACK_SIGNAL, Block
from greenq.worker.supervision.child import Child
from greenq.worker.supervision.journal import say
from greenq.worker.supervision.place import Place
from greenq.worker.supervision.undertaking import Undertaking

__all__ = ["Lookout"]

LOOK_EVERY, LOOK_AGAIN = 0.2, 0.1
"""Seconds between looks at workers; and while one of them is silent."""
SILENT_AFTER = 0.3
"""Seconds without a beat, which comes every 0.15 s, after which the process is looked at."""
FROZEN_AFTER = 0.55
"""Seconds without a beat after which the stack is asked for: with the looks' own time, within a second."""
LEAST_WAKINGS = 20
"""How often the beating thread must have woken meanwhile: waiting for the interpreter's lock, it wakes every
5 ms. In a process that is stopped, or gets no processor, it does not wake, and nothing is to blame."""
ASK_AGAIN = 0.5
"""Seconds after which a stack is asked for once more that did not arrive, or told nothing."""
UNKNOWN_AFTER = 2.0
"""Seconds after which it is said that something holds the lock, if it is not known what."""
GRACE = 0.5
"""Seconds beyond a hard limit, in which the task may still come to its end, or to where it can be ended."""
AHEAD = 1.0
"""Seconds before the hard limit at which the process is started that will record the task's end."""
REPEAT_EVERY = 10.0
STACK_WAIT = 0.1
"""Seconds that are waited for a stack."""

FRAME = re.compile(r'^  File "(?P<file>.*)", line \d+ in (?P<function>.*)$', re.MULTILINE)
MARK = re.compile(r" in mark (\d+)$", re.MULTILINE)
PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def shown(text: str) -> str:
    """A text as faulthandler writes it."""
    return text.encode("ascii", "backslashreplace").decode()


OURS = re.compile(
    rf'^  File "{re.escape(shown(PACKAGES))}/(greenq/worker|pools)/[^"]*", line \d+ in .*\n?', re.MULTILINE
)
"""Frames of the worker's own code: they are no news to anybody."""


class Lookout:
    """Looks at all workers, from the supervisor's loop.

    Parameters:
        spec: the command's: what the process needs that records the end of a task.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._watches: dict[Child, Watch] = {}
        self.due: float | None = None
        """When the next look is due, on the clock of `time.monotonic()`; None while nobody is there."""

    def look(self, places: Iterable[Place]) -> None:
        """Look at everybody there, if it is time to."""
        now = time.monotonic()
        if self.due is not None and now < self.due:
            return
        watches, self.due = self._watches, None
        self._watches = {}
        for index, child in [(place.index, child) for place in places for child in place.children()]:
            # Also while it starts and has no beat: what it runs first can keep it from saying that it is up.
            pause = LOOK_EVERY
            if child.page.beat:
                watch = watches.pop(child) if child in watches else Watch(index, child, self._spec)
                self._watches[child] = watch
                watch.look(now)
                pause = LOOK_AGAIN if watch.silent else LOOK_EVERY
            self.due = min(self.due or now + pause, now + pause)
        for watch in watches.values():
            watch.close()


class Watch:
    """Looks at one worker process.

    Parameters:
        index: the number of its place.
        child: the process.
        spec: see `Lookout`.
    """

    def __init__(self, index: int, child: Child, spec: dict[str, Any]) -> None:
        self._child = child
        self._who = f"worker {index} (process {child.pid})"
        self._spec = {**spec, "index": index, "holder": child.process}
        self.silent: dict[int, ThreadTime] = {}
        """Its threads when it fell silent; none while it is not."""
        self._silent_since = 0.0
        self._wakings = 0
        """How often the thread that beats had woken by then."""
        self._frozen: Block | None = None
        """What holds the interpreter's lock, as far as its stack tells."""
        self._said: Block | None = None
        """What was last said, of this time that it is frozen."""
        self._ask_at = self._say_at = 0.0
        self._asked = False
        """Whether a stack is still to arrive."""
        self._undertaking: Undertaking | None = None
        self._ended = False

    def look(self, now: float) -> None:
        """See how it is, and do what is to be done."""
        if self._ended or self._child.killed_at is not None:
            return
        if self._undertaking is not None and self._undertaking.begun:
            self._end(self._undertaking, now)
            return
        block = self._blocked(now)
        if block is None and self.silent:
            return  # which cannot be told yet
        if self._undertaking is not None and (block is None or block.id != self._undertaking.block.id):
            self._undertaking.close()
            self._undertaking = None
        if block is not None and not block.id and is_over(block, now):
            say(
                f"{self._who} still runs a task that was ended, and that lets no other run: it is replaced; "
                "what else it ran is delivered again, and not charged"
            )
            self._child.kill()
        elif block is not None and is_over(block, now + GRACE + AHEAD):
            self._undertaking = self._undertaking or Undertaking(self._spec, block)
            if is_over(block, now):
                self._undertaking.begin()

    def close(self) -> None:
        """Look no more: the process has ended."""
        if self._undertaking is not None:
            self._undertaking.close()

    # ── what lets nothing else run ───────────────────────────────────────────────────────────────────────

    def _blocked(self, now: float) -> Block | None:
        page = self._child.page
        beat = page.beat
        if now - beat < SILENT_AFTER:
            self.silent = {}
            self._frozen = self._said = None
            self._asked = False
            return page.block
        pid = self._child.pid
        threads = thread_times(pid)
        if not threads or any(seen.state in STOPPED for seen in threads.values()):
            self.silent = {}
            return None
        if not self.silent:
            self.silent, self._silent_since, self._wakings = threads, now, wakings(page.watcher, pid)
        # Just after it was stopped for a while its last beat is old, and says nothing.
        elif (
            now - max(beat, self._silent_since - SILENT_AFTER) >= FROZEN_AFTER
            and wakings(page.watcher, pid) - self._wakings >= LEAST_WAKINGS
        ):
            self._name(self._busiest(threads), now, beat)
            return self._frozen
        return None

    def _busiest(self, threads: dict[int, ThreadTime]) -> int:
        """The thread that holds the interpreter's lock; the main one, if that sleeps with it in its hands."""
        pid = self._child.pid
        used = {
            thread: seen.used - self.silent[thread].used
            for thread, seen in threads.items()
            if thread in self.silent
        }
        busiest = max(used, key=lambda thread: used[thread], default=pid)
        return busiest if used.get(busiest) else pid

    def _name(self, thread: int, now: float, since: float) -> None:
        """Find out what it is, unless that was done a moment ago and no limit is at stake."""
        if self._frozen is not None and now < self._ask_at and not is_over(self._frozen, now):
            return
        stack = self._stack(thread)
        block = self._frozen = self._recognize(stack, since)
        self._ask_at = now + (REPEAT_EVERY if block.name else ASK_AGAIN)
        if not block.name and now - since < UNKNOWN_AFTER:
            return
        if block != self._said or now >= self._say_at:
            what = f"{block.name}[{block.id}]" if block.id else block.name or "something"
            limit = "" if block.deadline else ", and no hard limit of it is known"
            say(
                f"{self._who} has run nothing else for {now - since:.1f} s: {what} holds the interpreter's "
                f"lock{limit}. It is here, innermost first:\n"
                + (OURS.sub("", stack).rstrip() or "  (it shows no stack)")
            )
            self._said, self._say_at = block, now + REPEAT_EVERY

    def _stack(self, thread: int) -> str:
        page = self._child.page
        if not self._asked:
            page.clear_stack()
            with contextlib.suppress(ProcessLookupError):
                # The kernel prefers the thread that is named, if it can take the signal.
                os.kill(thread, STACK_SIGNAL)
        text, deadline = "", time.monotonic() + STACK_WAIT
        while time.monotonic() < deadline:
            time.sleep(0.005)
            before, text = text, page.stack()
            if text and text == before:
                break
        self._asked = not text and not self._asked
        return text.partition("\n")[2]

    def _recognize(self, stack: str, since: float) -> Block:
        page = self._child.page
        mark = MARK.search(stack)
        if mark is not None:
            block = page.marked(int(mark[1]))
            if block is not None:
                return block
        names = {(shown(code.file), shown(code.function)): code.name for code in page.tasks() if code.file}
        # The outermost: a task may call another one like a function.
        frames = [(frame["file"], frame["function"]) for frame in FRAME.finditer(stack)]
        return Block("", next((names[frame] for frame in reversed(frames) if frame in names), ""), since)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, undertaking: Undertaking, now: float) -> None:
        """See whether the task's end is recorded; then end the process, unless it has come back to life."""
        recorded = undertaking.recorded()
        if recorded is None:
            return
        undertaking.close()
        self._undertaking = None
        block = undertaking.block
        page = self._child.page
        now_block = page.block if now - page.beat < SILENT_AFTER else block
        if recorded and (now_block is None or now_block.id != block.id):
            return  # it has come to its end after all, and its late settlement is refused
        self._ended = True
        over = (
            f"{block.name}[{block.id}] is over its hard limit of {block.limit:g} s and can't be interrupted"
        )
        if recorded:
            say(f"{over}: {self._who} is replaced; what else it ran is delivered again, and not charged")
            self._child.kill()
            return
        say(f"{over}, but that could not be recorded: {self._who} is killed, and the task delivered again")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGKILL)  # not as the child's own `kill`: the death is charged


def is_over(block: Block, now: float) -> bool:
    """Whether its hard limit is over, and the time after that in which it may still be ended."""
    return block.deadline > 0.0 and now >= block.deadline + GRACE
