"""No task keeps a connection, however it ends: a database that allows 20 is enough for a thousand at once."""

from __future__ import annotations

import pytest

from greenq import Call
from tests.greenq.contrib.conftest import HERE, ROOM, Count, Few, ends
from tests.greenq.worker.conftest import Shop, Worker
from tests.waiting import until

POOL = 12


def start(bank: Shop, few: Few, pool: str, concurrency: int) -> Worker:
    env = {"BANK_DATABASE": few.url, "BANK_POOL": str(POOL), "PYTHONPATH": str(HERE)}
    return bank.worker("-A", "bank", "-P", pool, "-c", str(concurrency), env=env)


def test_a_thousand_tasks_share_few_connections_however_they_end(bank: Shop, few: Few, count: Count) -> None:
    start(bank, few, "gevent", 1000)
    send = bank.app.send_many
    ways = ("scoped", "forgotten", "careful")
    fine = send(Call(f"bank.{how}", (0.01,)) for how in ways * 700)
    failing = send(Call("bank.fails", (how, 0)) for how in ways * 100)
    refused = send(Call("bank.wrong") for _ in range(100))
    assert set(ends(fine)) == {"SUCCESS"}
    assert set(ends(failing)) == {"ValueError"}
    assert "SUCCESS" not in ends(refused)
    pids = {result.get() for result in fine}
    assert len(pids) <= POOL
    assert count.end() <= POOL
    assert set(few.states()) == {"idle"}


@pytest.mark.parametrize("limit", ["soft", "hard"])
def test_what_a_limit_ends_gives_back_its_connection(bank: Shop, few: Few, count: Count, limit: str) -> None:
    worker = start(bank, few, "gevent", 1000)
    ways = ("scoped", "forgotten", "careful", "rests")
    ended = bank.app.send_many(Call(f"bank.{limit}", (how,)) for how in ways * 10)
    expected = {"soft": "SoftTimeLimitExceeded", "hard": "TimeLimitExceeded"}[limit]
    assert set(ends(ended)) == {expected}
    fine = bank.app.send_many(Call("bank.scoped", (0,)) for _ in range(200))
    assert set(ends(fine)) == {"SUCCESS"}
    assert count.end() <= ROOM
    until(lambda: set(few.states()) <= {"idle"}, what="nothing runs on the server")
    assert "Traceback" not in worker.output.split("failed", 1)[0]


def test_a_child_process_interrupts_its_statement_at_the_soft_limit(bank: Shop, few: Few) -> None:
    start(bank, few, "prefork", 2)
    ways = ("scoped", "forgotten", "careful", "rests")
    assert set(ends(bank.app.send_many(Call("bank.soft", (how,)) for how in ways))) == {
        "SoftTimeLimitExceeded"
    }
    until(lambda: set(few.states()) <= {"idle"}, what="nothing runs on the server")
