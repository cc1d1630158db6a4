"""End leases: many at once, each together with what its task leaves behind."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from greenq.chords import ChordOpening, ChordPart
from greenq.errors import BrokerError
from greenq.message import Delivery, Message, Result, Settlement, Verdict
from greenq.redis.chords import ChordKeys, keep_claims
from greenq.redis.client import Client
from greenq.redis.envelope import pack
from greenq.redis.failures import Failure
from greenq.redis.keys import Keys
from greenq.redis.scripts import ACKNOWLEDGE, CHARGE, COMMIT

__all__ = [
    "BAD_LIST",
    "DONE",
    "LOST",
    "UNDECIDED",
    "Step",
    "Stored",
    "Workflow",
    "carry_out",
    "charge",
    "lasting",
    "settle",
]

CHUNK, CHUNK_BYTES = 1000, 8_000_000
"""Steps of one script, and their bytes: it must not hold the server for long."""
LOST, DONE, UNDECIDED, BAD_LIST = 0, 1, 2, 3


class Stored:
    """A result as the script takes it.

    Parameters:
        key: where it is stored.
        seen: what the caller has seen there, empty for nothing.
    """

    __slots__ = ("key", "result", "seen")

    def __init__(self, key: str, result: Result) -> None:
        self.key = key
        self.result = result
        self.seen = b""

    def arguments(self) -> list[Any]:
        """What the script gets of it."""
        return [self.key, self.result.payload, lasting(self.result), self.seen]


class Workflow:
    """What an outcome has beside its own result: chords that begin, others' results, parts of chords.

    Parameters:
        claim: seconds that whoever completes a chord has for its body.
        openings: each with its shape, encoded; empty if it has none.
    """

    __slots__ = ("claim", "keys", "openings", "parts", "results")

    def __init__(
        self,
        keys: ChordKeys,
        claim: float,
        openings: Sequence[tuple[ChordOpening, bytes]],
        results: list[Stored],
        parts: Sequence[ChordPart],
    ) -> None:
        self.keys = keys
        self.claim = claim
        self.openings = openings
        self.results = results
        self.parts = parts

    def arguments(self, own: Sequence[Stored]) -> list[Any]:
        """What the script gets of it, and of the outcome's own result."""
        results = [*own, *self.results]
        found: list[Any] = [2, len(self.openings)]
        for opening, shape in self.openings:
            found += self.keys.opening(opening, shape)
        found.append(len(results))
        for result in results:
            found += result.arguments()
        found.append(len(self.parts))
        for part in self.parts:
            found += self.keys.part(part, self.claim)
        return found


class Step:
    """One outcome, or one settlement alone, as the script takes it.

    Parameters:
        stored: its result; None if there is none.
        workflow: what belongs to chords and chains in it; None for nothing.
    """

    __slots__ = ("children", "process", "settlement", "size", "stored", "token", "workflow")

    def __init__(
        self,
        settlement: Settlement | None,
        publishes: Sequence[Message] = (),
        stored: Stored | None = None,
        workflow: Workflow | None = None,
    ) -> None:
        self.settlement = settlement
        self.process, self.token = _token(settlement.delivery) if settlement is not None else ("", "")
        self.children = [(message, pack(message)) for message in publishes]
        self.stored = stored
        self.workflow = workflow
        self.size = sum(len(raw) for _, raw in self.children) + (len(stored.result.payload) if stored else 0)
        if workflow is not None:
            self.size += sum(len(one.result.payload) for one in workflow.results)
            self.size += sum(len(part.payload) + len(part.record) for part in workflow.parts)

    def arguments(self, keys: Keys) -> list[Any]:
        """What the script gets of it."""
        code, extras = self._settlement(keys)
        found: list[Any] = [code, self.token, len(extras), *extras, len(self.children)]
        for message, raw in self.children:
            found += [keys.list_of(message.queue, message.priority), raw]
        stored = self.stored
        if self.workflow is not None:
            found += self.workflow.arguments(() if stored is None else (stored,))
        elif stored is None:
            found.append(0)
        else:
            found += [1, stored.key, stored.result.payload, lasting(stored.result), stored.seen]
        return found

    def results(self) -> list[Stored]:
        """All that it stores."""
        own = [] if self.stored is None else [self.stored]
        return own if self.workflow is None else own + self.workflow.results

    def drop(self, stored: Stored) -> None:
        """Store this one not: another end stands there."""
        if stored is self.stored:
            self.stored = None
        elif self.workflow is not None:
            self.workflow.results.remove(stored)

    def finish(self, state: Any) -> int:
        """Note what the script answered; the state that it is in now."""
        workflow = self.workflow
        complete: list[int] = []
        if type(state) is list:
            state, *complete = state
        if workflow is not None and workflow.parts and state != UNDECIDED:
            keep_claims(workflow.parts, complete)
        return int(state)

    def _settlement(self, keys: Keys) -> tuple[str, list[Any]]:
        settlement = self.settlement
        if settlement is None:
            return "N", []
        delivery, verdict = settlement.delivery, settlement.verdict
        if verdict is Verdict.ACK:
            return ("a" if delivery.attempts else "A"), []
        if verdict is Verdict.RETRY_AT:
            if settlement.due is None:
                raise BrokerError("a message that is put off needs a time: give the settlement a due")
            # The time left, not the time of day: worker and server may not agree about that.
            left = max(0.0, settlement.due - time.time()) * 1000
            return "T", [keys.delayed(delivery.queue), f"{left:.3f}", delivery.attempts]
        if verdict is Verdict.DEAD:
            return "D", self._letter(keys, settlement)
        return "Q", [delivery.attempts]

    def _letter(self, keys: Keys, settlement: Settlement) -> list[Any]:
        queue, died = settlement.delivery.queue, time.time()
        about = {
            "queue": queue,
            "list": self.token.partition(":")[2],
            "died": died,
            "reason": settlement.reason or "",
            "trace": settlement.trace,
        }
        key = f"{queue}:{secrets.token_hex(8)}"
        return [keys.dead(queue), died, key, keys.letters, keys.raw_letters, json.dumps(about)]


def lasting(result: Result) -> str:
    """The milliseconds that a result is kept, as text; empty for ever."""
    return "" if result.expires is None else str(max(1, math.ceil(result.expires * 1000)))


def settle(client: Client, keys: Keys, settlements: Sequence[Settlement], deadline: float) -> list[bool]:
    """End leases; for each whether it was still held."""
    first = settlements[0].delivery.token
    process = first[0] if type(first) is tuple and first else ""
    fields: list[str] = []
    for settlement in settlements:
        delivery, token = settlement.delivery, settlement.delivery.token
        ours = type(token) is tuple and len(token) == 2 and token[0] == process and type(token[1]) is str
        if settlement.verdict is not Verdict.ACK or delivery.attempts or not ours:
            steps = [Step(one) for one in settlements]
            return [state == DONE for state in carry_out(client, keys, steps, deadline)]
        fields.append(token[1])
    # What nearly every settlement is, at a fraction of the price.
    leased = keys.leased(process)
    done = [True] * len(fields)
    for at in range(0, len(fields), CHUNK):
        some = fields[at : at + CHUNK]
        lost = client.script(ACKNOWLEDGE, (leased, *some), deadline, again=True)
        if type(lost) is not list:
            raise _senseless(lost)
        for i in lost:
            if type(i) is not int or not 0 <= i < len(some):
                raise _senseless(lost)
            done[at + i] = False
    return done


def charge(
    client: Client, keys: Keys, deliveries: Sequence[Delivery], more: int, deadline: float
) -> list[bool]:
    """Let a death be counted against deliveries, `more` beyond those they had; False for what is lost."""
    done = [False] * len(deliveries)
    by_process: dict[str, list[int]] = {}
    for i, one in enumerate(deliveries):
        by_process.setdefault(_token(one)[0], []).append(i)
    for process, places in by_process.items():
        for at in range(0, len(places), CHUNK):
            some = places[at : at + CHUNK]
            arguments: list[Any] = [keys.leased(process), keys.attempts]
            for i in some:
                arguments += [_token(deliveries[i])[1], deliveries[i].attempts + more]
            replies = client.script(CHARGE, arguments, deadline, again=True)
            if type(replies) is not list or [type(reply) for reply in replies] != [int] * len(some):
                raise _senseless(replies)
            for i, ours in zip(some, replies, strict=True):
                done[i] = bool(ours)
    return done


def carry_out(client: Client, keys: Keys, steps: Sequence[Step], deadline: float) -> list[int]:
    """Carry out steps, each as a whole or not at all; for each DONE, LOST, UNDECIDED or BAD_LIST."""
    states = [LOST] * len(steps)
    by_process: dict[str, list[int]] = {}
    for i, step in enumerate(steps):
        if step.token or step.settlement is None:
            by_process.setdefault(step.process, []).append(i)
    for process, places in by_process.items():
        # What goes back to the front of its list goes last first, so that its order stays.
        places.sort(key=lambda i: steps[i].token if _goes_back(steps[i]) else "~", reverse=True)
        head = (keys.leased(process), keys.attempts)
        for some in _chunks(places, [step.size for step in steps]):
            arguments = [argument for i in some for argument in steps[i].arguments(keys)]
            replies = client.script(COMMIT, (*head, *arguments), deadline, again=True)
            if not isinstance(replies, list) or len(replies) != len(some):
                raise _senseless(replies)
            for i, state in zip(some, replies, strict=True):
                states[i] = state if steps[i].workflow is None else steps[i].finish(state)
    return states


def _senseless(reply: Any) -> Failure:
    return Failure(f"the answer to a settlement makes no sense: {reply!r:.80}", True)


def _chunks(places: list[int], sizes: list[int]) -> Iterator[list[int]]:
    """Split steps into what one script takes."""
    some: list[int] = []
    size = 0
    for i in places:
        if some and (len(some) == CHUNK or size + sizes[i] > CHUNK_BYTES):
            yield some
            some, size = [], 0
        some.append(i)
        size += sizes[i]
    if some:
        yield some


def _goes_back(step: Step) -> bool:
    return step.settlement is not None and step.settlement.verdict is Verdict.REQUEUE


def _token(delivery: Delivery) -> tuple[str, str]:
    """The process and the field of a lease; empty if it is not one of ours."""
    token = delivery.token
    if type(token) is tuple and len(token) == 2 and type(token[0]) is str and type(token[1]) is str:
        return token
    return "", ""
