"""The process above the workers: starts them, restarts those that die, passes signals on.

It imports neither the application nor anything heavy, runs no threads, and handles no messages. What it
knows of a worker is its process id, and the name under which that process leases messages: the successor
of a dead one is told that name and gives the leases back at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

__all__ = ["Supervisor", "launch", "main"]

EXIT_MISTAKE = 2
"""A worker that ends so was set up wrongly: starting it again would not help."""
EXIT_RECYCLE = 75
"""A worker that ends so has done its share (`worker.max_tasks`) and wants a successor."""

SETTLED_AFTER = 10.0
"""Seconds after which a worker counts as up; one that dies earlier is restarted more and more slowly."""
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
            ``processes``, ``burst``, ``shutdown_timeout`` (seconds).
    """
    os.execv(sys.executable, interpreter("greenq.worker.supervisor", hand_over(spec)))


def interpreter(module: str, fd: int) -> list[str]:
    """The command line of a Python process that runs `module.main` on the spec in `fd`.

    ``-P`` keeps the working directory out of the way of the standard library: the application is looked for
    there, but only after greenq itself was imported.
    """
    return [sys.executable, "-P", "-c", f"from {module} import main; main({fd})"]


def hand_over(spec: dict[str, Any]) -> int:
    """Put `spec` into a pipe and return its reading end, open across exec."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    with open(writer, "wb") as file:
        file.write(json.dumps(spec).encode())
    return reader


def take_over(fd: int) -> dict[str, Any]:
    """Read back what `hand_over` put into the pipe."""
    with open(fd, "rb") as file:
        return json.loads(file.read())  # type: ignore[no-any-return]


class Child:
    """One worker process and its history."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.process = ""
        self.started = 0.0
        self.failures = 0
        self.came_up = False
        """Whether it, or a predecessor, ran for a while: then a failure is no mistake of the set-up."""
        self.start_at: float | None = 0.0
        self.dead: list[str] = []
        """Names of its predecessors whose leases are still to be given back."""


class Supervisor:
    """Keeps `spec["processes"]` workers alive until told to stop, or until all have ended by themselves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._children = [Child(i) for i in range(spec["processes"])]
        self._stop_signal: int | None = None
        self._kill_at: float | None = None
        self._generation = 0
        self._replacing: list[Child] = []
        self._exitcode = 0

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
        return self._stop_signal is None and any(c.start_at is not None for c in self._children)

    def _start_due(self) -> None:
        if self._stop_signal is not None:
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
        fd = hand_over(spec)
        try:
            child.pid = os.posix_spawn(
                sys.executable,
                interpreter("greenq.worker.process", fd),
                os.environ,
                # A group of its own: a terminal's Ctrl-C must reach a worker once, through this process.
                setpgroup=0,
                setsigmask=(),
            )
        finally:
            os.close(fd)
        child.started = time.monotonic()
        child.start_at = None
        child.dead = []

    # ── signals ──────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, signum: int) -> None:
        if signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            patience = self._spec["shutdown_timeout"] if self._stop_signal is None else 0.0
            self._stop_signal = signum
            self._kill_at = time.monotonic() + patience + GRACE
            self._send(signal.SIGTERM)
        elif signum == signal.SIGHUP and not self._replacing:
            say("replacing the workers one by one")
            self._replacing = [child for child in self._children if child.pid]
            self._replace_next()

    def _replace_next(self) -> None:
        if self._replacing and self._stop_signal is None and self._replacing[0].pid:
            os.kill(self._replacing[0].pid, signal.SIGTERM)

    def _send(self, signum: int) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signum)

    def _kill_late(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            say("a worker did not end in time and is killed; its messages return when its lease ends")
            self._send(signal.SIGKILL)
            self._exitcode = self._exitcode or 1
            self._kill_at = None

    def _next_deadline(self) -> float:
        now = time.monotonic()
        due = [c.start_at for c in self._children if c.start_at is not None and self._stop_signal is None]
        if self._kill_at is not None:
            due.append(self._kill_at)
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
        child.came_up = child.came_up or lived > SETTLED_AFTER
        if self._stop_signal is not None:
            # One that had not come as far as its own handlers ends by the signal itself, holding nothing.
            if code != -signal.SIGTERM:
                self._exitcode = self._exitcode or (code if code > 0 else int(code < 0))
            return
        if self._replacing and self._replacing[0] is child:
            self._replacing.pop(0)
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
        self._stop_signal = signal.SIGTERM
        self._kill_at = time.monotonic() + self._spec["shutdown_timeout"] + GRACE
        self._send(signal.SIGTERM)

    def _died(self, child: Child, pid: int, code: int, lived: float) -> None:
        child.dead.append(child.process)
        child.failures = 0 if lived > SETTLED_AFTER else child.failures + 1
        pause = min(BACKOFF_FIRST * 2 ** (child.failures - 2), BACKOFF_MOST) if child.failures > 1 else 0.0
        if code > 0 and not child.came_up and child.failures >= GIVE_UP_AFTER:
            say(f"worker {child.index} failed at its start {child.failures} times in a row; giving up")
            self._give_up(1)
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        say(
            f"worker {child.index} (process {pid}) {how}; restarting it"
            + (f" in {pause:g} s" if pause else "")
        )
        child.start_at = time.monotonic() + pause


def say(text: str) -> None:
    """Tell people on standard error, in the shape of the workers' own log lines."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} WARNING greenq.supervisor: {text}", file=sys.stderr, flush=True)


def main(fd: int) -> NoReturn:
    """Supervise the workers that the spec in the pipe `fd` describes, and exit as they did."""
    sys.exit(Supervisor(take_over(fd)).run())
