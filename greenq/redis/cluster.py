"""Find the node of a Redis Cluster that holds our keys: all of them, as they share one {tag}.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

import re
import time
from binascii import crc_hqx
from dataclasses import replace

from greenq.redis.address import Address
from greenq.redis.failures import Failure, Refused, Unreachable, refusal
from greenq.redis.link import Link
from greenq.redis.resp import ReplyError

__all__ = ["by_slot", "slot_of"]

SLOTS = 16384
PATIENCE = 2.0
"""Seconds for one node: a dead one must not use up the time for the others."""


def slot_of(key: str) -> int:
    """The slot of a key, by its {tag} if it has one."""
    tag = re.search(r"\{([^}]+)\}", key)
    return crc_hqx((tag[1] if tag else key).encode(), 0) % SLOTS


def by_slot(address: Address, deadline: float, off_hub: bool) -> Link:
    """Connect to the node that holds the slot of the address's prefix.

    Raises:
        Unreachable: no node that was named answers, or none holds the slot.
    """
    slot = slot_of(address.prefix)
    problems = []
    for host in address.hosts:
        try:
            place = _place(address, host, slot, deadline, off_hub)
            return Link(address, deadline, off_hub=off_hub, host=place)
        except Refused:
            raise
        except Failure as error:
            problems.append(str(error))
    raise Unreachable("; ".join(problems))


def _place(
    address: Address, host: tuple[str, int], slot: int, deadline: float, off_hub: bool
) -> tuple[str, int]:
    asked = replace(address, cluster=False, hosts=(host,))
    link = Link(asked, min(deadline, time.monotonic() + PATIENCE), off_hub=off_hub)
    try:
        answer = link.call([("CLUSTER", "SLOTS")], deadline)[0]
    finally:
        link.close()
    if isinstance(answer, ReplyError):
        raise refusal(str(answer))
    for first, last, (name, port, *_), *_ in answer:
        if first <= slot <= last:
            return (name.decode() if name else host[0]), int(port)
    raise Unreachable(f"{host[0]}:{host[1]} knows no node for slot {slot}: the cluster is not complete")
