"""What a command may see and change of the worker that obeys it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from greenq.control.revocations import Revocations
from greenq.events.clock import Clock

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["Autoscaler", "ControlState", "TaskInfo"]

TaskInfo = dict[str, Any]
"""One task in a worker, in Celery's keys: ``id``, ``name``, ``args``, ``time_start``, ``delivery_info``, …"""


class Autoscaler(Protocol):
    """Chooses how many tasks may run at once."""

    most: int
    least: int

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds; both, as they are then."""


class ControlState(Protocol):
    """The worker, to those who write commands."""

    app: GreenQ
    hostname: str
    """The node's name."""
    clock: Clock
    revocations: Revocations

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────

    def active(self, safe: bool = False) -> list[TaskInfo]:
        """The tasks that run; `safe` gives their arguments as text."""

    def reserved(self) -> list[TaskInfo]:
        """Those that wait here for a free slot."""

    def scheduled(self) -> list[dict[str, Any]]:
        """The next that wait for their time in its queues: ``eta``, ``priority``, ``request``."""

    def find(self, ids: Collection[str]) -> dict[str, tuple[str, TaskInfo]]:
        """By id, the state (``"active"`` or ``"reserved"``) and the description of those that are here."""

    def stats(self) -> dict[str, Any]:
        """Counters and sizes, in Celery's keys."""

    def queues(self) -> list[dict[str, Any]]:
        """The queues that it takes from, as Celery describes them."""

    # ── revoking ─────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, ids: Collection[str]) -> None:
        """Run these no more, whenever they come."""

    def revoke_stamped(self, stamps: Mapping[str, Sequence[str]]) -> None:
        """Run no more what carries one of these stamps."""

    def stamped(self, stamps: Mapping[str, Sequence[str]]) -> dict[str, set[tuple[str, str]]]:
        """The ids of tasks that run and carry one of these stamps, each with the pairs that fit."""

    def terminate(self, ids: Collection[str], signum: int) -> list[str]:
        """End those of them that run here; their ids.

        Raises:
            Unsupported: the pool can't end what runs.
        """

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    def limit_rate(self, task: str, rate: str | int | float | None) -> None:
        """Start no more calls of a task than so many in a time; None or 0 ends the limit."""

    def limit_time(self, task: str, soft: float | None, hard: float | None) -> None:
        """Give a task's runs other limits (seconds); those that run already keep theirs."""

    def resize(self, by: int) -> None:
        """Let so many more, or fewer, tasks run at once."""

    def restart(self) -> None:
        """Have this process replaced by a new one."""

    @property
    def autoscaler(self) -> Autoscaler | None:
        """What chooses the pool's size; None if nothing does."""

    def add_queue(self, queue: str, exchange: str | None, type: str, routing_key: str | None) -> None:
        """Take from this queue too."""

    def cancel_queue(self, queue: str) -> None:
        """Take from it no more."""

    def shutdown(self, why: str) -> None:
        """Stop as after SIGTERM."""

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────

    def switch_events(self, on: bool) -> bool:
        """Send events about tasks, or send them no more; False if that was so already."""

    def heartbeat(self) -> None:
        """Send an event that says it is alive."""

    def elect(self, id: str, topic: str, action: Any) -> None:
        """Hold an election among the workers: one of them does what it is about."""
