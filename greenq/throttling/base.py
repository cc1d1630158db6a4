"""The contract of what remembers limits for all workers: who holds what, what may start, what is paused.

`greenq.testing.throttles` checks everything that is written here against any implementation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from greenq.closing import Closing

__all__ = ["Ask", "Claim", "Limit", "Slot", "ThrottleStore", "told_to_wait"]

GRACE = 2.0
"""Seconds after the moment it was given at which a waiting task that did not come loses its place."""
FORGOTTEN = 3600.0
"""Seconds after which such a task has to begin anew when it comes after all."""
TRIES = 100
"""A key's waiting tasks come to ask at most so often in a second, if there are many."""
LONGEST = 60.0
"""Seconds that a task waits at most until it asks again, if there are few: those that were purged meanwhile
are noticed so soon."""
FRONT, QUICKEST = 0.5, 0.02
"""Seconds between two questions for a slot of the first in line; it is asked for more often where slots
change hands quickly."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A task wants to be the only one of its key.

    Parameters:
        key: what makes two tasks the same.
        id: the task's.
        seconds: after which the key is free whatever happens.
        instead: it may take the key from this task, which is known to have ended.
    """

    key: str
    id: str
    seconds: float
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What a task needs before it may start.

    Parameters:
        key: whatever has the same key shares the limit.
        slots: how many may run at once; 0 for a rate.
        interval: seconds between two starts; 0 for slots.
        tolerance: seconds by which a start may make up for one that came late.
    """

    key: str
    slots: int = 0
    interval: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the places of a limit, taken.

    Parameters:
        id: of the task that has it.
        owner: of the process that runs it.
    """

    key: str
    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A task asks to start: all its limits are met at once, or nothing is taken.

    Parameters:
        owner: the process that would run it.
        lease: seconds after which its slots are free, unless they are renewed.
    """

    id: str
    owner: str
    lease: float
    limits: tuple[Limit, ...]

    def slots(self) -> list[Slot]:
        """What it has once it was let in."""
        return [Slot(limit.key, self.id, self.owner) for limit in self.limits if limit.slots]


class ThrottleStore(Closing):
    """Remembers limits for all processes that share it, by its own clock.

    Every call has a deadline and may be made from any thread or green thread; it waits as its caller's world
    waits. Errors are translated to `BrokerUnreachable` and `BrokerError`.
    """

    shared = True
    """Whether other processes see the same."""

    # ── unique tasks ─────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def hold(self, claims: Sequence[Claim], timeout: float) -> list[str | None]:
        """Take keys for tasks; a task may take its own again, and the time begins anew.

        Returns:
            For each claim None, or the id of the task that has the key.
        """

    @abstractmethod
    def free(self, holds: Sequence[tuple[str, str]], timeout: float) -> None:
        """Give keys back: pairs of a key and the task's id. What another task has stays its own."""

    # ── rates and slots ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def admit(self, asks: Sequence[Ask], timeout: float) -> list[float]:
        """Let tasks start, or give each the moment at which it is to ask again.

        Who asked earlier goes first, as long as it comes when it was told to. A task that has a slot already,
        as its process died, takes it over.

        Returns:
            For each 0.0, or seconds since the epoch by the store's clock.
        """

    @abstractmethod
    def renew(self, slots: Sequence[Slot], seconds: float, timeout: float) -> list[Slot]:
        """Keep slots for so many seconds more; those that are not this owner's any more."""

    @abstractmethod
    def retake(self, slots: Sequence[Slot], seconds: float, timeout: float) -> None:
        """Take slots whose tasks run, whatever the limit says, unless another process has them."""

    @abstractmethod
    def leave(self, slots: Sequence[Slot], timeout: float) -> None:
        """Give slots back. What another process has taken over stays its own."""

    # ── paused queues ────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def pause(self, queue: str, timeout: float) -> bool:
        """Let no worker fetch from the queue, until `resume`; False if it was paused already."""

    @abstractmethod
    def resume(self, queue: str, timeout: float) -> bool:
        """Undo `pause`; False if it was not paused."""

    @abstractmethod
    def paused(self, timeout: float) -> frozenset[str]:
        """The queues that are paused."""

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def expire(self, timeout: float) -> int:
        """Drop what is past its time, where the server does not do so itself; how much it was."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files. Idempotent."""


def told_to_wait(behind: int, slots: int, pace: float) -> float:
    """How many seconds one that found no free slot waits until it asks again.

    The first in line ask soon, as a slot may come free at any time; the others when it may be their turn.
    Of N in line so no more than ``4 * slots * ln(N)`` ask in a second where tasks run long.

    Parameters:
        behind: how many are to get a slot before it.
        slots: how many there are.
        pace: seconds that tasks kept a slot lately, or for which none has been taken now if these are more.
    """
    step = min(FRONT, max(QUICKEST, pace / (2 * slots)))
    return min(step * (behind + 1), FRONT * (1 + behind // slots))
