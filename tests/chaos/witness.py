"""Records what passes between a worker and its broker: what it is handed, and what is settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenq.message import Delivery, Outcome, Settlement
from greenq.worker.worker import Worker
from tests.chaos.ledger import DONE, GOT, LATE, UP, Ledger

__all__ = ["install"]


def install(ledger: Ledger) -> None:
    """See to it that each worker of this process is watched once it starts, and tells when it is up."""
    start = Worker.start

    def watched(self: Worker) -> None:
        _watch(self._broker, self._store, ledger)
        start(self)
        ledger.write(UP, [("", 0, "")])

    Worker.start = watched  # type: ignore[method-assign]


def about(delivery: Delivery, note: str = "") -> tuple[str, int, str]:
    """Id, retries and note of a delivery, as the ledger has them."""
    headers = delivery.message.headers if delivery.message is not None else {}
    return headers.get("id", ""), headers.get("retries", 0), note


def _watch(broker: Any, store: Any, ledger: Ledger) -> None:
    fetch, settle = broker.fetch, broker.settle

    def fetched(queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        deliveries: list[Delivery] = fetch(queues, n, timeout)
        ledger.write(GOT, [about(delivery, str(delivery.attempts)) for delivery in deliveries])
        return deliveries

    def settled(settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        done: list[bool] = settle(settlements, timeout)
        _record(ledger, settlements, done)
        return done

    broker.fetch, broker.settle = fetched, settled
    if store is not None:
        store.commit = _committing(store.commit, ledger)


def _committing(commit: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    def committed(broker: Any, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        settlements = [outcome.settlement for outcome in outcomes]
        done: list[bool] | None = commit(broker, outcomes, timeout)
        if done is not None:
            _record(ledger, settlements, done)
        return done

    return committed


def _record(ledger: Ledger, settlements: Sequence[Settlement | None], done: Sequence[bool]) -> None:
    pairs = [(one, ours) for one, ours in zip(settlements, done, strict=True) if one is not None]
    ledger.write(DONE, [about(one.delivery, one.verdict.value) for one, ours in pairs if ours])
    ledger.write(LATE, [about(one.delivery, one.verdict.value) for one, ours in pairs if not ours])
