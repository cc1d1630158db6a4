"""Django's connections are closed, or back in Django's pool, after each task, however it ends."""

from __future__ import annotations

import pytest

from greenq import Call
from tests.greenq.contrib.conftest import HERE, ROOM, Count, Few, ends
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

POOL = 12
WAYS = ("plain", "atomic", "rests")


def start(bank: Shop, few: Few, pool: str, concurrency: int, **env: str) -> None:
    env |= {"ACCOUNTS_PORT": str(few.port), "PYTHONPATH": str(HERE)}
    bank.worker("-A", "accounts", "-P", pool, "-c", str(concurrency), env=env)


def test_a_thousand_tasks_share_djangos_pool_however_they_end(bank: Shop, few: Few, count: Count) -> None:
    start(bank, few, "gevent", 1000, ACCOUNTS_POOL=str(POOL))
    send = bank.app.send_many
    fine = send(Call(f"accounts.{how}", (0.01,)) for how in ("plain", "atomic") * 500)
    failing = send(Call("accounts.fails", (how,)) for how in WAYS * 50)
    refused = send(Call("accounts.wrong") for _ in range(50))
    assert set(ends(fine)) == {"SUCCESS"}
    assert set(ends(failing)) == {"ValueError"}
    assert "SUCCESS" not in ends(refused)
    for limit, expected in (("soft", "SoftTimeLimitExceeded"), ("hard", "TimeLimitExceeded")):
        ended = send(Call(f"accounts.{limit}", (how,)) for how in WAYS * 10)
        assert set(ends(ended)) == {expected}
    assert set(ends(send(Call("accounts.plain", (0,)) for _ in range(200)))) == {"SUCCESS"}
    assert count.end() <= ROOM
    until(lambda: set(few.states()) <= {"idle"}, what="nothing runs on the server")


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_without_a_pool_no_connection_outlives_its_task(bank: Shop, few: Few, pool: str) -> None:
    start(bank, few, pool, 10, ACCOUNTS_AGE="600", ACCOUNTS_SOFT_ONLY="1")
    send = bank.app.send_many
    fine = send(Call(f"accounts.{how}", (0,)) for how in WAYS * 20)
    failing = send(Call("accounts.fails", (how,)) for how in WAYS * 5)
    assert set(ends(fine)) == {"SUCCESS"}
    assert set(ends(failing)) == {"ValueError"}
    until(lambda: not few.states(), what="every connection is closed")


def test_a_child_process_keeps_its_connection_as_long_as_django_says(bank: Shop, few: Few) -> None:
    start(bank, few, "prefork", 1, ACCOUNTS_AGE="600")
    pids = {bank.app.send_task("accounts.plain", (0,)).get(timeout=PATIENCE) for _ in range(3)}
    assert len(pids) == 1
    assert set(few.states()) == {"idle"}
    assert ends([bank.app.send_task("accounts.fails", ("plain",))]) == ["ValueError"]
    until(lambda: not few.states(), what="after a failure it is closed")
