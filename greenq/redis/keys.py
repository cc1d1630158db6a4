"""How keys are named: kombu's own for everything that Celery's workers see, greenq's for the rest."""

from __future__ import annotations

from bisect import bisect
from functools import lru_cache

from greenq.redis.address import Address

__all__ = ["FANOUTS", "Keys"]

FANOUTS = ("celery.pidbox", "reply.celery.pidbox", "celeryev")
"""Exchanges of Celery's that have queues which hold no tasks."""


class Keys:
    """The names of one address.

    Source: kombu.transport.redis (``_q_for_pri``, ``keyprefix_queue``, ``keyprefix_binding_permanent``).
    """

    def __init__(self, address: Address) -> None:
        self.prefix = prefix = address.prefix
        self.sep = address.sep
        self.steps = address.steps
        self.processes = f"{prefix}greenq.processes"
        self.attempts = f"{prefix}greenq.attempts"
        self.queues = f"{prefix}greenq.queues"
        self.letters = f"{prefix}greenq.letters"
        self.raw_letters = f"{prefix}greenq.letters.raw"
        self.revoked = f"{prefix}greenq.revoked"
        self.unacked = prefix + address.unacked
        self.unacked_index = prefix + address.unacked_index
        self.unacked_mutex = prefix + address.unacked_mutex
        self.list_of = lru_cache(1024)(self._list_of)
        self.lists = lru_cache(1024)(self._lists)
        self.leased = lru_cache(1024)(self._leased)

    def _list_of(self, queue: str, priority: int) -> str:
        step = self.steps[bisect(self.steps, priority) - 1]
        return f"{self.prefix}{queue}{self.sep}{step}" if step else f"{self.prefix}{queue}"

    def _lists(self, queue: str) -> tuple[str, ...]:
        """The lists of a queue, the most urgent first."""
        return tuple(self._list_of(queue, step) for step in self.steps)

    def queue_of(self, name: str) -> str:
        """The queue that a list belongs to."""
        queue, sep, step = name.rpartition(self.sep)
        known = sep and step.isdecimal() and int(step) in self.steps
        return (queue if known else name).removeprefix(self.prefix)

    def _leased(self, process: str) -> str:
        """The hash of what a process holds."""
        return f"{self.prefix}greenq.leased:{process}"

    def lease(self, process: str) -> str:
        """Lives as long as the process is heard of."""
        return f"{self.prefix}greenq.lease:{process}"

    def delayed(self, queue: str) -> str:
        """The set of what waits for its time."""
        return f"{self.prefix}greenq.delayed:{queue}"

    def dead(self, queue: str) -> str:
        """The set of the keys of dead letters, by time."""
        return f"{self.prefix}greenq.dead:{queue}"

    def binding(self, exchange: str) -> str:
        """Kombu's table of an exchange."""
        return f"{self.prefix}_kombu.binding.{exchange}"

    def permanent(self, exchange: str) -> str:
        """Kombu's table of the bindings that do not expire."""
        return f"{self.prefix}_kombu.binding_permanent.{exchange}"

    def member(self, queue: str) -> str:
        """A queue's entry in the table of the exchange of its own name, as Celery declares it."""
        return f"{queue}{self.sep}{self.sep}{queue}"
