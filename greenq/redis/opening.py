"""Open a connection: to the server, or to the one that Sentinel or the cluster names."""

from __future__ import annotations

from greenq.redis.address import Address
from greenq.redis.cluster import by_slot
from greenq.redis.link import Link
from greenq.redis.sentinel import to_primary

__all__ = ["open_link"]


def open_link(address: Address, deadline: float, *, off_hub: bool = False) -> Link:
    """Connect to whoever has our keys now.

    Parameters:
        deadline: on the monotonic clock.
        off_hub: wait as a native thread, whatever hub the calling thread has.

    Raises:
        Unreachable: nobody answers, or nobody knows who it is.
        Refused: the server does not let us in.
    """
    if address.cluster:
        return by_slot(address, deadline, off_hub)
    if address.master is not None:
        return to_primary(address, deadline, off_hub)
    return Link(address, deadline, off_hub=off_hub)
