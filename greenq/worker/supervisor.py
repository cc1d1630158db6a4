"""The process above the workers: starts them, restarts those that die, passes signals on.

It imports neither the application nor anything heavy, runs no threads, and handles no messages. What it
knows of a worker is its process id, what the worker says on its line, and the name under which that process
leases messages: another worker is told the names of the dead and gives their leases back at once.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from typing import Any

from greenq.worker.supervision.child import GRACE, Child, Gone
from greenq.worker.supervision.handover import EXIT_MISTAKE, EXIT_UNAVAILABLE
from greenq.worker.supervision.health import Health
from greenq.worker.supervision.journal import say
from greenq.worker.supervision.lookout import Lookout
from greenq.worker.supervision.notify import Notify
from greenq.worker.supervision.place import BACKOFF_MOST, Place
from greenq.worker.supervision.replacing import Replacing
from greenq.worker.supervision.signals import Signals
from greenq.worker.supervision.spawning import spawn
from greenq.worker.supervision.state import is_live, is_ready, summary

__all__ = ["Supervisor"]

GIVE_UP_AFTER = 5
"""A worker that fails so often at its start, and never came up, will not: the command ends."""
AWAY_MOST = 5.0
"""Seconds between attempts to start a worker while the broker can't be reached."""
LONGEST_TURN = 60.0


class Supervisor:
    """Keeps `spec["processes"]` workers alive until told to stop, or until all have ended by themselves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._places = [Place(i) for i in range(spec["processes"])]
        self._replacing = Replacing(self._places, self._start)
        self._lookout = Lookout(spec)
        self._selector = selectors.DefaultSelector()
        self._gone: list[Gone] = []
        self._stopping = False
        self._generation = 0
        self._exitcode = 0
        self._terminal = next((fd for fd in range(3) if os.isatty(fd)), None)
        self._notify = Notify({})
        self._health: Health | None = None

    def notify(self, notify: Notify) -> None:
        """Tell systemd how it goes."""
        self._notify = notify

    def listen(self, place: str) -> None:
        """Answer probes.

        Parameters:
            place: as in `worker.health`.

        Raises:
            ConfigError: nothing can listen there.
        """
        self._health = Health(
            place,
            {
                "/live": lambda: is_live(self._places),
                "/ready": lambda: is_ready(self._places, self._stopping),
            },
        )

    def run(self) -> int:
        """Supervise until the end; the exit code of the whole command."""
        with contextlib.ExitStack() as held:
            signals = held.enter_context(Signals())
            held.enter_context(self._selector)
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._obey(signals))
            if self._health is not None:
                self._health.attach(self._selector)
                held.callback(self._health.close)
            while self._places_are_open():
                for key, _ in self._selector.select(self._pause()):
                    key.data()
                self._reap()
                self._lookout.look(self._places)
                self._kill_late()
                self._give_back()
                if not self._stopping:
                    self._replacing.step()
                if self._health is not None:
                    self._health.tidy()
                self._tell()
        return self._exitcode

    def _tell(self) -> None:
        """Let systemd know."""
        status = summary(self._places)
        if self._stopping:
            timeouts = [child.shutdown_timeout for place in self._places for child in place.children()]
            self._notify.stopping(status, max(timeouts, default=0.0) + 2 * GRACE)
        elif self._replacing.asked:
            self._notify.reloading(status)
        elif all(place.came_up for place in self._places):
            self._notify.ready(status)
        else:
            self._notify.status(status)
        self._notify.beat()

    # ── starting ─────────────────────────────────────────────────────────────────────────────────────────

    def _places_are_open(self) -> bool:
        """Start who is due; False once nobody lives and nobody shall."""
        now = time.monotonic()
        for place in () if self._stopping else self._places:
            if place.child is None and place.start_at is not None and place.start_at <= now:
                self._fill(place)
        return any(
            place.children() or (not self._stopping and place.start_at is not None) for place in self._places
        )

    def _fill(self, place: Place) -> None:
        place.child = self._start(place)
        if place.child is None:
            self._put_off(place, "is not there")

    def _start(self, place: Place) -> Child | None:
        self._generation += 1
        name = f"{os.uname().nodename}:{os.getpid()}:{self._generation}:{os.urandom(4).hex()}"
        first = place.index == 0 and not place.came_up
        try:
            child = spawn({**self._spec, "process": name, "index": place.index, "first": first}, self._gone)
        except OSError as error:
            say(f"worker {place.index} could not be started ({error})")
            return None
        self._gone = []
        self._lookout.due = self._lookout.due or time.monotonic()
        self._selector.register(child.line, selectors.EVENT_READ, lambda: self._hear(place, child))
        return child

    def _put_off(self, place: Place, how: str, lived: float = 0.0, most: float = BACKOFF_MOST) -> None:
        """Start another one, later with every failure."""
        pause = place.put_off(lived, most)
        place.start_at = time.monotonic() + pause
        say(f"worker {place.index} {how}; restarting it" + (f" in {pause:g} s" if pause else ""))

    def _pause(self) -> float:
        """Seconds until something is due."""
        due = [c.kill_at for place in self._places for c in place.children() if c.kill_at is not None]
        if not self._stopping:
            due += [p.start_at for p in self._places if p.child is None and p.start_at is not None]
            due += self._replacing.due()
        due += self._notify.due
        if self._health is not None:
            due += self._health.due
        if self._lookout.due is not None:
            due.append(self._lookout.due)
        now = time.monotonic()
        return max(0.0, min([LONGEST_TURN, *(at - now for at in due)]))

    # ── what arrives ─────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, place: Place, child: Child) -> None:
        was_up = child.came_up
        if not child.hear():
            # It is about to end; an end of file would be reported again and again.
            self._selector.unregister(child.line)
        if child.came_up and not was_up:
            place.came_up = True
            place.patience, place.away_since = child.patience, None
            if child is place.successor and not self._stopping:
                self._replacing.came_up(place)

    def _obey(self, signals: Signals) -> None:
        for signum in signals.take():
            self._handle(signum)

    def _handle(self, signum: int) -> None:
        if signum == signal.SIGHUP and self._terminal is not None and not os.isatty(self._terminal):
            # The terminal that the command was started in is gone, and nobody asked for new workers.
            signum = signal.SIGTERM
        if signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._stop_all(at_once=self._stopping)
        elif signum == signal.SIGHUP and not self._stopping:
            say("replacing the workers one by one")
            self._replacing.ask()

    def _stop_all(self, at_once: bool = False) -> None:
        self._stopping = True
        for place in self._places:
            for child in place.children():
                # One that is leaving was told already, and a second signal would end its tasks.
                if at_once or not child.stopping:
                    child.stop(at_once)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for place in self._places:
            for child in place.children():
                if child.kill_at is not None and child.kill_at <= now:
                    what = "end" if child.stopping else "come up"
                    say(f"worker {place.index} (process {child.pid}) did not {what} in time and is killed")
                    child.late = True
                    child.kill()

    def _give_back(self) -> None:
        """Let somebody who lives return what the dead held; if nobody can, who is started next does."""
        if self._gone:
            for child in (place.child for place in self._places):
                if child and child.came_up and not child.stopping and child.give_back(self._gone):
                    self._gone = []
                    return

    # ── deaths ───────────────────────────────────────────────────────────────────────────────────────────

    def _reap(self) -> None:
        """Wait for all that have ended, strangers too: in a container orphans become ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for place in self._places:
                for child in place.children():
                    if child.pid == pid:
                        self._ended(place, child, os.waitstatus_to_exitcode(status))

    def _ended(self, place: Place, child: Child, code: int) -> None:
        child.hear()
        if child.line in self._selector.get_map():
            self._selector.unregister(child.line)
        child.close()
        self._gone += child.gone
        if code != 0:
            self._gone.append((child.process, child.killed_at is None))
        if self._stopping:
            # One that had not come as far as its own handlers ends by the signal itself, holding nothing; and
            # one that was ended because of a task is no failure of the command.
            if code != -signal.SIGTERM and (child.killed_at is None or child.late):
                self._exitcode = self._exitcode or (code if code > 0 else int(code < 0))
            place.remove(child)
        elif child is place.successor:
            self._replacing.failed(place, _how(code))
        else:
            self._replacing.ended(place, child)
            worked = place.remove(child)
            if worked and place.child is None:
                self._left_empty(place, child, code)
            elif code != 0 and child.killed_at is None:
                say(f"worker {place.index} (process {child.pid}), which was being replaced, {_how(code)}")

    def _left_empty(self, place: Place, child: Child, code: int) -> None:
        """Who worked in `place` has ended, and no successor was coming up."""
        # A start that fails slowly is no life.
        lived = time.monotonic() - child.started if child.came_up else 0.0
        how = f"(process {child.pid}) {_how(code)}"
        place.start_at = 0.0
        if child.finished and code == 0:
            place.start_at = None
        elif child.killed_at is not None:
            say(f"worker {place.index} {how}; starting another")
        elif code == EXIT_UNAVAILABLE:
            self._unavailable(place, child, how)
        elif code == EXIT_MISTAKE and not place.came_up:
            # It said why. Were it started again it would say so again.
            self._give_up(EXIT_MISTAKE)
        elif code > 0 and not place.came_up and place.failures + 1 >= GIVE_UP_AFTER:
            say(f"worker {place.index} failed at its start {GIVE_UP_AFTER} times in a row; giving up")
            self._give_up(1)
        else:
            self._put_off(place, how, lived)

    def _unavailable(self, place: Place, child: Child, how: str) -> None:
        """The broker could not be reached: not at the start, or for longer than it may be away."""
        now = time.monotonic()
        if not place.came_up:
            self._give_up(EXIT_MISTAKE)
            return
        if place.away_since is None:
            place.away_since = now
        if child.came_up or (place.patience is not None and now - place.away_since > place.patience):
            say(f"worker {place.index} {how}: the broker is away for too long; giving up")
            self._give_up(EXIT_UNAVAILABLE)
            return
        self._put_off(place, how, most=AWAY_MOST)

    def _give_up(self, exitcode: int) -> None:
        self._exitcode = exitcode
        self._stop_all()


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
