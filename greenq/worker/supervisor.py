"""The process above the workers: starts them, restarts those that die, passes signals on.

It imports neither the application nor anything heavy, runs no threads, and handles no messages. What it
knows of a worker is its process id, and the name under which that process leases messages: the successor
of a dead one is told that name and gives the leases back at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any, NoReturn

from greenq.worker.supervision.child import Child
from greenq.worker.supervision.handover import (
    EXIT_MISTAKE,
    EXIT_RECYCLE,
    hand_over,
    interpreter,
    keep_standard_streams,
    take_over,
)
from greenq.worker.supervision.journal import say
from greenq.worker.supervision.spawning import spawn

__all__ = ["Supervisor", "launch", "main"]

SETTLED_AFTER = 10.0
"""Seconds that a worker must live; one that dies earlier is restarted more and more slowly."""
BACKOFF_FIRST, BACKOFF_MOST = 0.5, 30.0
GIVE_UP_AFTER = 5
"""A worker that fails so often at its start, and never came up, will not: the command ends."""
GRACE = 5.0
"""Seconds beyond `worker.shutdown_timeout` before a worker that does not end is killed."""

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}


def launch(spec: dict[str, Any]) -> NoReturn:
    """Replace this process by a supervisor.

    Parameters:
        spec: ``app``, ``config`` (a path), ``overrides`` (dotted key to value and option name),
            ``processes``, ``burst``, ``shutdown_timeout`` (seconds, until the application says otherwise).
    """
    keep_standard_streams()
    os.execv(sys.executable, interpreter("greenq.worker.supervisor", hand_over(spec)))


class Supervisor:
    """Keeps `spec["processes"]` workers alive until told to stop, or until all have ended by themselves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._children = [Child(i) for i in range(spec["processes"])]
        self._stopping = False
        self._generation = 0
        self._replacing: list[Child] = []
        self._exitcode = 0
        self._terminal = next((fd for fd in range(3) if os.isatty(fd)), None)

    def run(self) -> int:
        """Supervise until the end; the exit code of the whole command."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        while True:
            self._start_due()
            if not any(child.pid for child in self._children) and not self._pending():
                return self._exitcode
            info = signal.sigtimedwait(WATCHED, self._next_deadline())
            if info is not None:
                self._handle(info.si_signo)
            self._reap()
            self._kill_late()

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────

    def _pending(self) -> bool:
        return not self._stopping and any(c.start_at is not None for c in self._children)

    def _start_due(self) -> None:
        if self._stopping:
            return
        now = time.monotonic()
        for child in self._children:
            if child.start_at is not None and child.start_at <= now:
                self._start(child)

    def _start(self, child: Child) -> None:
        self._generation += 1
        child.process = f"{os.uname().nodename}:{os.getpid()}:{self._generation}:{os.urandom(4).hex()}"
        spec = {
            **self._spec,
            "process": child.process,
            "index": child.index,
            "release": child.dead,
            "supervisor": os.getpid(),
        }
        child.kill_at = None
        try:
            child.pid, child.news = spawn(spec)
        except OSError as error:
            self._put_off(child, f"could not be started ({error})")
            return
        child.patience = self._spec["shutdown_timeout"]
        child.started = time.monotonic()
        child.start_at = None
        child.dead = []

    # ── signals ──────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, signum: int) -> None:
        if signum == signal.SIGHUP and self._terminal is not None and not os.isatty(self._terminal):
            # The terminal that the command was started in is gone, and nobody asked for new workers.
            signum = signal.SIGTERM
        if signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._stop_all(at_once=self._stopping)
        elif signum == signal.SIGHUP:
            say("replacing the workers one by one")
            # Asked again meanwhile, those that were replaced have their turn once more.
            first = self._replacing[:1]
            self._replacing = first + [c for c in self._children if c.pid and c not in first]
            if not first:
                self._replace_next()

    def _replace_next(self) -> None:
        # One that has died is being replaced already.
        self._replacing = [child for child in self._replacing if child.pid]
        if self._replacing and not self._stopping:
            self._stop(self._replacing[0])

    def _stop_all(self, at_once: bool = False) -> None:
        self._stopping = True
        for child in self._children:
            if child.pid:
                self._stop(child, at_once)

    def _stop(self, child: Child, at_once: bool = False) -> None:
        """Tell it to stop, and when it is late; said again, the earliest end counts."""
        os.kill(child.pid, signal.SIGTERM)
        child.hear()
        kill_at = time.monotonic() + (0.0 if at_once else child.patience) + GRACE
        child.kill_at = kill_at if child.kill_at is None else min(child.kill_at, kill_at)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid and child.kill_at is not None and child.kill_at <= now:
                say(f"worker {child.index} (process {child.pid}) did not end in time and is killed")
                os.kill(child.pid, signal.SIGKILL)
                child.kill_at = None

    def _next_deadline(self) -> float:
        now = time.monotonic()
        due = [c.start_at for c in self._children if c.start_at is not None and not self._stopping]
        due += [c.kill_at for c in self._children if c.kill_at is not None and c.pid]
        return max(0.0, min([60.0, *(at - now for at in due)]))

    # ── deaths ───────────────────────────────────────────────────────────────────────────────────────────

    def _reap(self) -> None:
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        pid, child.pid = child.pid, 0
        lived = time.monotonic() - child.started
        child.hear()
        os.close(child.news)
        if self._stopping:
            # One that had not come as far as its own handlers ends by the signal itself, holding nothing.
            if code != -signal.SIGTERM:
                self._exitcode = self._exitcode or (code if code > 0 else int(code < 0))
            return
        if self._replacing and self._replacing[0] is child:
            self._replacing.pop(0)
            if code != 0:
                child.dead.append(child.process)
            child.start_at = 0.0
            self._start(child)
            self._replace_next()
        elif code == 0:
            child.start_at = None
        elif code == EXIT_RECYCLE:
            child.start_at = 0.0
        elif code == EXIT_MISTAKE and not child.came_up:
            # It said why. Were it started again it would say so again.
            self._give_up(EXIT_MISTAKE)
        else:
            self._died(child, pid, code, lived)

    def _give_up(self, exitcode: int) -> None:
        self._exitcode = exitcode
        self._stop_all()

    def _died(self, child: Child, pid: int, code: int, lived: float) -> None:
        child.dead.append(child.process)
        if lived > SETTLED_AFTER:
            child.failures = 0
        if code > 0 and not child.came_up and child.failures + 1 >= GIVE_UP_AFTER:
            say(f"worker {child.index} failed at its start {GIVE_UP_AFTER} times in a row; giving up")
            self._give_up(1)
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._put_off(child, f"(process {pid}) {how}")

    def _put_off(self, child: Child, how: str) -> None:
        """Start it again, later with every failure."""
        child.failures += 1
        pause = min(BACKOFF_FIRST * 2 ** (child.failures - 2), BACKOFF_MOST) if child.failures > 1 else 0.0
        say(f"worker {child.index} {how}; restarting it" + (f" in {pause:g} s" if pause else ""))
        child.start_at = time.monotonic() + pause


def main(fd: int) -> NoReturn:
    """Supervise the workers that the spec in the pipe `fd` describes, and exit as they did."""
    sys.exit(Supervisor(take_over(fd)).run())
