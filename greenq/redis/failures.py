"""What can go wrong between us and a Redis server, in words that say what to do."""

from __future__ import annotations

from greenq.serverfailures import Closed, Failure, Late, Unreachable

__all__ = ["Closed", "Failure", "Late", "Refused", "Unreachable", "refusal"]


class Refused(Failure):
    """The Redis server answered with an error.

    Parameters:
        code: the first word of its answer.
    """

    def __init__(self, message: str | None = None, code: str = "ERR") -> None:
        self.code = code
        super().__init__(message)


ADVICE = {
    "OOM": "it is out of memory (maxmemory): make room, or let the queues be worked off",
    "NOAUTH": "it wants a password: give one in the address, redis://:password@host",
    "WRONGPASS": "it refused the user name or the password: correct them in the address",
    "NOPERM": "this user may not do that: grant it with ACL SETUSER",
    "READONLY": "it is a replica: give the primary's address, or use sentinel://",
    "LOADING": "it is still loading its data: wait",
    "MASTERDOWN": "it lost its primary: wait for the failover",
    "CLUSTERDOWN": "its cluster is down",
    "MOVED": "it belongs to a Redis Cluster: use redis+cluster:// in the address",
    "ASK": "it gives these keys to another node of the cluster just now: wait",
    "CROSSSLOT": "it is a Redis Cluster: use redis+cluster:// in the address",
    "MISCONF": "it cannot save to its disk and takes no writes: see its log",
    "BUSY": "a script keeps it busy: see SCRIPT KILL",
    "NOPROTO": "it is too old: greenq needs Redis 6.2 or newer, or Valkey",
    "WRONGTYPE": "a key holds another kind of value than a queue does: somebody else uses this name",
}
TEMPORARY = frozenset({"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"})
"""The command was not carried out, and soon may be."""


def refusal(text: str) -> Refused:
    """Translate an error answer."""
    code = text.partition(" ")[0]
    advice = ADVICE.get(code)
    if code == "ERR" and "invalid password" in text:
        code, advice = "WRONGPASS", ADVICE["WRONGPASS"]
    if code == "ERR" and "without any password configured" in text:
        code, advice = "WRONGPASS", "it has no password set, but the address gives one: drop it there"
    if code == "ERR" and "non local key in a cluster" in text:
        code, advice = "MOVED", ADVICE["MOVED"]
    if code == "ERR" and "DB index is out of range" in text:
        advice = "it does not have so many databases: choose a smaller number in the address"
    if code == "ERR" and "unknown command" in text and "HELLO" in text:
        code, advice = "NOPROTO", ADVICE["NOPROTO"]
    return Refused(advice or f"it answered: {text}", code)
