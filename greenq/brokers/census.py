"""Which queues there are on a broker of kombu's, and what is in them: theirs, and those that serve them."""

from __future__ import annotations

from collections.abc import Mapping

from greenq.brokers.channel import Channel
from greenq.brokers.graveyard import grave_of, queue_of
from greenq.brokers.parking import Parking, levels_of, parent_of
from greenq.message import Depth

__all__ = ["Census"]


class Census:
    """Counts; belongs to the thread that owns the channel.

    Attributes:
        expected: queues that are there in spite of a transport that can't list them.
    """

    def __init__(self, channel: Channel, parking: Parking) -> None:
        self._channel = channel
        self._parking = parking
        self.expected: set[str] = set()

    def queues(self) -> list[str]:
        """The queues there are, without those that serve others."""
        found = {parent_of(name) or queue_of(name) or name for name in self._channel.names()}
        return sorted(found if self._channel.lists else found | self.expected)

    def _names(self) -> set[str]:
        """Every queue there is, or where the transport can't tell, may be."""
        names = set(self._channel.names())
        if not self._channel.lists:
            for queue in self.queues():
                names.update((queue, *levels_of(queue), grave_of(queue)))
        return names

    def depth(self, leased: Mapping[str, int]) -> dict[str, Depth]:
        """Every queue and what it holds.

        Parameters:
            leased: how many messages of each this process has.
        """
        names = self._names()

        def size(name: str) -> int:
            return self._channel.size(name) if name in names else 0

        return {
            queue: Depth(
                size(queue),
                sum(map(size, levels_of(queue))) + self._parking.held(queue),
                leased.get(queue, 0),
                size(grave_of(queue)),
            )
            for queue in self.queues()
        }

    def purge(self, queue: str) -> int:
        """Drop what waits in a queue, now or later; how many it was."""
        names = self._names()
        waiting = [name for name in (queue, *levels_of(queue)) if name in names]
        return sum(map(self._channel.purge, waiting)) + self._parking.drop(queue)

    def graves(self, queue: str | None = None) -> list[str]:
        """Those queues, of one or of all, that have dead letters, or may have where nobody can tell."""
        names = self._names()
        return [one for one in self.queues() if queue in (None, one) and grave_of(one) in names]

    def bury(self, queue: str | None) -> int:
        """Drop the dead letters of one queue or of all; how many they were."""
        return sum(self._channel.purge(grave_of(one)) for one in self.graves(queue))
