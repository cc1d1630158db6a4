"""Names the task that lets nothing else run, and shows the supervisor that this process is alive."""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable

from greenq.failures import plain
from greenq.message import Delivery
from greenq.worker.consumer import Run
from greenq.worker.cputime import RUNNABLE, thread_time
from greenq.worker.page import STACK_SIGNAL, Block, Page
from pools.base import Blocking, Call, Pool
from pools.coroutines import is_coroutine_function
from pools.errors import PoolError
from pools.native import NativeThread, Signal, current, start

__all__ = ["Blocked"]

log = logging.getLogger("greenq.blocked")

LOOK_EVERY = 0.15
"""Seconds between looks."""
BEGUN_WITHIN = 5.0
"""Seconds that the looking thread may take to begin, on a machine that has much else to do."""
REPORT_AFTER = 0.45
"""Seconds without breath after which it is said what runs: with the looks' own time, within a second."""
LEAST_USED = 0.15
"""Seconds of processor time that must have gone by meanwhile, if it is runnable: a pool on a machine that is
too busy does not breathe either, and nothing in it is to blame."""
REPEAT_EVERY = 10.0
OURS = tuple(
    f'  File "{directory}{os.sep}'
    for directory in (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(inspect.getfile(Pool)))
)
"""How frames of the worker's own code begin: they are no news to anybody."""


class Blocked:
    """Looks at the pool from a native thread, which runs also while a task lets no green thread run.

    Parameters:
        who: name and id of a delivery's task.
        page: shared with the supervisor, which ends the process when a hard limit is over; None without one.
    """

    def __init__(
        self, pool: Pool, who: Callable[[Delivery], tuple[str, str]], page: Page | None = None
    ) -> None:
        self._pool = pool
        self._who = who
        self._page = page
        self._stopping = Signal()
        self._begun = Signal()
        self._thread: NativeThread | None = None
        self._looked_at: tuple[int, float] | None = None
        """The thread that blocks, and its processor time when it was first looked at."""
        self._blocking: Blocking | None = None
        """What runs while the pool does not breathe."""
        self._named: Block | None = None
        self._named_in = 0
        """The thread that it blocks."""
        self._say_at = 0.0

    def start(self) -> None:
        """Begin to look, and return once that has begun.

        A task that holds the interpreter's lock from then on is found by the thread that no longer beats, and
        the supervisor must know which that is.
        """
        if self._page is not None:
            self._page.show_stack_at(STACK_SIGNAL)
            self._page.beat = time.monotonic()
        self._thread = start(self._run, "greenq-blocked")
        self._begun.wait(BEGUN_WITHIN)

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        me = current()
        if self._page is not None and me is not None:
            self._page.watcher = me.native_id
        self._begun.set()
        try:
            while not self._stopping.wait(LOOK_EVERY):
                self._look()
        except PoolError:
            pass  # it was closed under a worker that does not own it
        finally:
            if self._page is not None:
                self._page.beat = self._page.breathed = 0.0
                self._page.block = None

    def _look(self) -> None:
        now = time.monotonic()
        if self._page is not None:
            self._page.beat = now
        silent = self._pool.breathed()
        if self._page is not None:
            self._page.beat = time.monotonic()
            self._page.breathed = self._page.beat - silent
        if not silent:
            self._all_well(now)
            return
        self._blocking = blocking = self._pool.blocking()
        if blocking is not None and self._is_to_blame(blocking, silent):
            self._report(blocking, now, silent)

    def is_held_up(self, call: Call) -> bool:
        """Whether a coroutine waits for another one that lets no other run. What else is blocked by a task
        can't ask; and what runs in a thread of its own goes on."""
        blocking, run = self._blocking, call.tag
        if blocking is None or blocking.call is call or type(run) is not Run or run.handler is None:
            return False
        return is_coroutine_function(run.handler.task.run)

    def _all_well(self, now: float) -> None:
        self._looked_at = None
        self._blocking = None
        if self._named is not None:
            named, self._named = self._named, None
            if self._page is not None:
                self._page.block = None
            log.warning("%s let others run again, after %.1f s", title(named), now - named.since)

    def _is_to_blame(self, blocking: Blocking, silent: float) -> bool:
        seen = thread_time(blocking.thread)
        if seen is None:
            return silent >= REPORT_AFTER
        if self._looked_at is None or self._looked_at[0] != blocking.thread:
            self._looked_at = blocking.thread, seen.used
            return False
        used = seen.used - self._looked_at[1]
        return silent >= REPORT_AFTER and (seen.state != RUNNABLE or used >= LEAST_USED)

    def _report(self, blocking: Blocking, now: float, silent: float) -> None:
        # Nothing else has run since it was named: it is the same, though its call may be given up by now.
        block = self._named
        if block is None or self._named_in != blocking.thread:
            block = self._describe(blocking, now - silent)
        elif now < self._say_at:
            return
        self._named, self._named_in = block, blocking.thread
        self._say_at = now + REPEAT_EVERY
        if self._page is not None:
            self._page.block = block
        log.warning(
            "%s has kept others from running for %.1f s%s. It is here:\n%s",
            title(block), now - block.since, "" if block.deadline else " and has no hard limit",
            "\n".join(text for text in blocking.stack if not text.startswith(OURS)),
        )  # fmt: skip

    def _describe(self, blocking: Blocking, since: float) -> Block:
        if blocking.abandoned:  # what is to be recorded of it is, or will be: only the process is to be ended
            return Block("", "", since, since)
        call = blocking.call
        run = call.tag if call is not None else None
        if call is None or type(run) is not Run:
            return Block("", "", since)
        name, id = self._who(run.delivery)
        if run.hard is None or not self._pool.features.kill:
            return Block(id, name, since)
        return Block(id, name, since, call.started + run.hard, float(run.hard))


def title(block: Block) -> str:
    """A task as log lines name it."""
    if block.name:
        return plain(f"{block.name}[{block.id}]")
    return "a task that was ended" if block.deadline else "something that is no task's own code"
