"""A broker and a result store that only keep what they are given, and fail as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from greenq.app import GreenQ
from greenq.brokers.base import Broker, Guarantees
from greenq.errors import GreenqError
from greenq.message import READY_STATES, DeadLetter, Delivery, Depth, Message, Result, Settlement
from greenq.results.base import ResultStore

__all__ = ["DictStore", "RecordingBroker", "recorded_app"]


class RecordingBroker(Broker):
    """Keeps published messages.

    Attributes:
        sent: the messages.
        batches: how many `publish` was given at a time.
        refuse: called for each message; the error it returns is that message's.
        away: raised by `publish` itself.
    """

    guarantees = Guarantees(survives_process=False, shared=False, exact_fetch=True, priorities=10)

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.batches: list[int] = []
        self.refuse: Any = lambda message: None
        self.away: GreenqError | None = None
        self.closed = 0

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        if self.away is not None:
            raise self.away
        self.batches.append(len(messages))
        answers = [self.refuse(message) for message in messages]
        self.sent += [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        return answers

    def lease(self, process: str, seconds: float) -> None: ...
    def wake(self) -> None: ...
    def renew(self) -> None: ...
    def declare(self, queues: Sequence[str]) -> None: ...
    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        return []

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        return []

    def reap(self) -> int:
        return 0

    def release(self, process: str) -> int:
        return 0

    def depth(self) -> dict[str, Depth]:
        return {}

    def purge(self, queue: str) -> int:
        return 0

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        return []

    def replay(self, key: str) -> bool:
        return False

    def bury(self, queue: str | None = None) -> int:
        return 0

    def close(self) -> None:
        self.closed += 1


class DictStore(ResultStore):
    """Keeps payloads in a dict; `wait` answers at once with what has ended."""

    def __init__(self, app: GreenQ) -> None:
        super().__init__(app._encode_record, app._decode_record)
        self.payloads: dict[str, bytes] = {}
        self.waits = 0

    def end(self, id: str, state: str, value: Any = None, traceback: str | None = None, **more: Any) -> None:
        """What a worker would store."""
        result = Result(id, state, value, traceback, **more)
        self.encode(result)
        self.put((result,), 1.0)

    def put(self, results: Sequence[Result], timeout: float) -> None:
        for result in results:
            self.payloads[result.id] = result.payload

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        return {id: self.decode(self.payloads[id]) for id in ids if id in self.payloads}

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self.waits += 1
        return {id: found for id, found in self.get(ids, timeout).items() if found.state in READY_STATES}

    def forget(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.payloads.pop(id, None)

    def expire(self) -> int:
        return 0

    def close(self) -> None: ...


def recorded_app(main: str = "shop", **settings: Any) -> tuple[GreenQ, RecordingBroker, DictStore]:
    """An application whose broker and result store are these."""
    app = GreenQ(main, {"broker": "memory://recorded", "results": "memory://recorded", **settings})
    broker, store = RecordingBroker(), DictStore(app)
    app._broker, app._results, app._opened = broker, store, True
    return app, broker, store
