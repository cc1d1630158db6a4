"""Statements that end leases."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from greenq.errors import BrokerError
from greenq.message import Delivery, Settlement, Verdict
from greenq.sqlite.messages import delay
from greenq.sqlite.session import Session, numbers

__all__ = ["charge", "check", "give_back", "reenter", "settle"]

Token = tuple[int, int, int]
"""Owner, message and fence: names one delivery."""
Lease = tuple[int, int, int]
"""Queue, rank and attempts of a leased message."""


def check(settlements: Iterable[Settlement]) -> None:
    """Refuse what cannot be stored.

    Raises:
        BrokerError: a message is to be put back for later, and nobody said when.
    """
    for one in settlements:
        if one.verdict is Verdict.RETRY_AT and (one.due is None or not math.isfinite(one.due)):
            raise BrokerError(f"a settlement with RETRY_AT needs its time in seconds, not {one.due!r}")


def _is_token(token: Any) -> bool:
    """Whether it can be one of ours."""
    return (
        type(token) is tuple and len(token) == 3 and type(token[0]) is type(token[1]) is type(token[2]) is int
    )


def _held(session: Session, tokens: Iterable[Token]) -> dict[Token, Lease]:
    """Which of these deliveries are still leased under their token."""
    wanted: dict[int, dict[int, Token]] = {}
    for token in tokens:
        wanted.setdefault(token[0], {})[token[1]] = token
    leases: dict[Token, Lease] = {}
    for owner, by_id in wanted.items():
        found = session.do(
            "SELECT group_concat(id), group_concat(fence), group_concat(queue), group_concat(rank),"
            " group_concat(attempts) FROM leased WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
            (owner, str(list(by_id))),
        ).fetchall()[0]
        if found[0] is None:
            continue
        columns: list[Iterable[int]] = []
        for text in found:
            columns.append(map(int, text.split(",")))
        for id, fence, queue, rank, attempts in zip(*columns, strict=True):
            token = by_id[id]
            if token[2] == fence:
                leases[token] = queue, rank, attempts
    return leases


def settle(session: Session, settlements: Sequence[Settlement]) -> list[bool]:
    """End leases; for each False if it had been lost, or was ended before in the same batch."""
    tokens = []
    ids: list[int] = []
    fetches: set[tuple[int, int]] = set()
    for settlement in settlements:
        token = settlement.delivery.token
        ours = type(token) is tuple and len(token) == 3  # as `_is_token` does, without a call
        ours = ours and type(token[0]) is type(token[1]) is type(token[2]) is int
        tokens.append(token if ours else None)
        if ours and settlement.verdict is Verdict.ACK:
            ids.append(token[1])
            fetches.add((token[0], token[2]))
    if len(fetches) == 1 and len(ids) == len(tokens):
        # All are acknowledged and came together: unless one is lost, nothing need be known of each.
        owner, fence = fetches.pop()
        held = session.do(
            "SELECT count(*) FROM leased WHERE owner = ? AND fence = ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (owner, fence, str(ids)),
        ).fetchall()[0][0]
        if held == len(ids):
            session.do(
                "DELETE FROM leased WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
                (owner, str(ids)),
            )
            session.do("DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", (str(ids),))
            return [True] * held
    leases = _held(session, filter(None, tokens))
    kept: list[bool] = []
    ended: list[tuple[Settlement, Lease]] = []
    for settlement, token in zip(settlements, tokens, strict=True):
        lease = leases.pop(token, None) if token is not None else None
        kept.append(lease is not None)
        if lease is not None:
            ended.append((settlement, lease))
        elif token is not None:
            session.refuse(token)
    _finish(session, ended)
    return kept


def reenter(session: Session) -> None:
    """Return what ended while another file stood in this one's place, which was moved away and put back.

    It is still leased here, by a process that lives and knows nothing of it any more.
    """
    if not session.entered:
        session.entered = True
        give_back(session, list(session.refused))


def _text(text: str | None) -> str | None:
    """Make what an exception said fit for storage: it may hold half a surrogate pair."""
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode()


def _finish(session: Session, ended: Iterable[tuple[Settlement, Lease]]) -> None:
    """Do with leased messages what their settlements say."""
    gone: list[int] = []
    ready: list[tuple[Any, ...]] = []
    delayed: list[tuple[Any, ...]] = []
    dead: list[tuple[Any, ...]] = []
    ids: dict[int, list[int]] = {}
    for settlement, (queue, rank, charged) in ended:
        owner, id, _ = settlement.delivery.token
        # As it was fetched: what a charge added meanwhile is forgotten.
        attempts = settlement.delivery.attempts or charged
        verdict = settlement.verdict
        ids.setdefault(owner, []).append(id)
        if verdict is Verdict.ACK:
            gone.append(id)
        elif verdict is Verdict.RETRY_AT:
            delayed.append((settlement.due, id, queue, rank, attempts))
        elif verdict is Verdict.REQUEUE:
            ready.append((queue, rank, 0, id, attempts))
        else:
            reason, trace = _text(settlement.reason) or "", _text(settlement.trace)
            dead.append((id, queue, rank, time.time(), reason, trace))
    for owner, of_owner in ids.items():
        session.do(
            "DELETE FROM leased WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
            (owner, str(of_owner)),
        )
    if gone:
        session.do("DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", (str(gone),))
    if ready:
        session.insert("ready", ("queue", "rank", "position", "id", "attempts"), ready)
    if delayed:
        delay(session, delayed)
    if dead:
        session.insert("dead", ("message", "queue", "rank", "died", "reason", "trace"), dead)
    session.announce = session.announce or bool(ready or delayed)


def charge(session: Session, deliveries: Sequence[Delivery], more: int) -> list[bool]:
    """Let a death be counted against deliveries, `more` beyond those they had; False for what is lost."""
    leases = _held(session, [one.token for one in deliveries if _is_token(one.token)])
    held = [_is_token(one.token) and one.token in leases for one in deliveries]
    by_count: dict[tuple[int, int], list[int]] = {}
    for one, ours in zip(deliveries, held, strict=True):
        if ours:
            by_count.setdefault((one.token[0], one.attempts + more), []).append(one.token[1])
    for (owner, attempts), ids in by_count.items():
        session.execute(
            "UPDATE leased SET attempts = ? WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
            (attempts, owner, numbers(ids)),
        )
    return held


def give_back(session: Session, tokens: Sequence[Token]) -> None:
    """Return deliveries that nobody has seen to the front."""
    settle(session, [Settlement(Delivery(None, "", token), Verdict.REQUEUE) for token in tokens])
