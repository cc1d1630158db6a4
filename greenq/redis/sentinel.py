"""Ask Sentinel which server is the primary now."""

from __future__ import annotations

import time
from dataclasses import replace

from greenq.redis.address import Address
from greenq.redis.failures import Failure, Refused, Unreachable
from greenq.redis.link import Link
from greenq.redis.resp import ReplyError

__all__ = ["to_primary"]

PATIENCE = 2.0
"""Seconds for one sentinel: a dead one must not use up the time for the others."""


def to_primary(address: Address, deadline: float, off_hub: bool) -> Link:
    """Connect to the server that the sentinels call the primary.

    Raises:
        Unreachable: nobody answers, or no sentinel knows the primary.
        Refused: the server does not let us in.
    """
    problems = []
    for host in address.hosts:
        try:
            return _by_way_of(address, host, deadline, off_hub)
        except Refused:
            raise
        except Failure as error:
            problems.append(str(error))
    raise Unreachable("; ".join(problems))


def _by_way_of(address: Address, host: tuple[str, int], deadline: float, off_hub: bool) -> Link:
    asked = replace(
        address, master=None, hosts=(host,), db=0,
        user=address.sentinel_user, password=address.sentinel_password,
    )  # fmt: skip
    sentinel = Link(asked, min(deadline, time.monotonic() + PATIENCE), off_hub=off_hub)
    try:
        answer = sentinel.call([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master)], deadline)[0]
    finally:
        sentinel.close()
    if isinstance(answer, ReplyError) or not answer:
        raise Unreachable(f"the sentinel at {host[0]}:{host[1]} knows no primary named {address.master}")
    place = answer[0].decode(), int(answer[1])
    link = Link(address, deadline, off_hub=off_hub, host=place)
    role = link.call([("ROLE",)], deadline)[0]
    if not isinstance(role, ReplyError) and role[0] != b"master":
        link.close()
        raise Unreachable(f"{place[0]}:{place[1]} is not the primary any more: a failover is under way")
    return link
