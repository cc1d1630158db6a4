"""Code that never yields is named with its stack; at its hard limit it alone fails, and its process goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq import AsyncResult, Call, GreenQ
from greenq.errors import TimeLimitExceeded
from greenq.message import Depth
from tests.greenq.worker.conftest import Shop
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

GREEN = ("-P", "gevent", "-c", "20")


class Elsewhere(Shop):
    """A shop whose broker and results are not in its directory."""

    def __init__(self, path: Path, broker: str, results: str) -> None:
        super().__init__(path)
        self.app.close()
        self.app = GreenQ("shop", broker=broker, results=results)
        self._env = {"GREENQ_BROKER_URL": broker, "GREENQ_RESULTS_URL": results}

    def worker(self, *arguments, env=None, **options):
        return super().worker(*arguments, env={**self._env, **(env or {})}, **options)


@pytest.fixture(params=["sqlite", "redis", "rabbitmq"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        shop = Shop(tmp_path)
    elif request.param == "redis":
        url = shared_redis().empty()
        shop = Elsewhere(tmp_path, url, url)
    else:
        shop = Elsewhere(tmp_path, shared_rabbit().empty(), shared_redis().empty())
    try:
        yield shop
    finally:
        shop.close()


def find_end(result: AsyncResult) -> None:
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=60)
    assert result.state == "FAILURE"


def check_culprits_and_neighbours(shop: Shop, *culprits: str, options: tuple[str, ...] = GREEN) -> str:
    """Let tasks that never yield meet innocent ones; the worker's output."""
    worker = shop.worker(*options)
    (first,) = worker.children()
    neighbours = [shop.send("nap", 1.0, shop.ledger, f"neighbour {n}") for n in range(5)]
    guilty = [shop.send(name, shop.ledger, name) for name in culprits]
    for result in guilty:
        find_end(result)
    assert [result.get(timeout=60) for result in neighbours] == [f"neighbour {n}" for n in range(5)]
    lines = shop.lines()
    for name in culprits:
        assert lines.count(f"start {name}") == 1, "it was run again"
    assert first not in worker.children()
    until(lambda: shop.depth() == Depth(), what="everything settled")
    for result in guilty:
        assert result.state == "FAILURE"
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert "Traceback" not in worker.output
    for name, result in zip(culprits, guilty, strict=True):
        assert f"shop.{name}[{result.id}] has kept" in worker.output or (
            f"shop.{name}[{result.id}] holds the interpreter's lock" in worker.output
        )
        assert f" in {name}\n" in worker.output, "its stack is not shown"
        assert f"shop.{name}[{result.id}] was ended at its hard time limit of 1 s" in worker.output
    return worker.output


def test_what_never_yields_fails_at_its_hard_limit_and_nothing_else_does(anywhere: Shop) -> None:
    output = check_culprits_and_neighbours(anywhere, "endless", "catastrophe")
    assert "holds the interpreter's lock" in output


@pytest.mark.parametrize("culprit", ["endless", "catastrophe"])
def test_what_never_yields_before_its_worker_is_up_ends_too(shop: Shop, culprit: str) -> None:
    result = shop.send(culprit, shop.ledger, culprit)
    worker = shop.worker(*GREEN, env={"SHOP_LINGERS": "1"}, ready=False)
    find_end(result)
    assert shop.lines() == [f"start {culprit}"]
    assert f"shop.{culprit}[{result.id}] was ended at its hard time limit of 1 s" in worker.output


def test_that_holds_for_eventlet(shop: Shop) -> None:
    check_culprits_and_neighbours(shop, "endless", "catastrophe", options=("-P", "eventlet", "-c", "20"))


@pytest.mark.parametrize("pool", ["gevent", "asyncio"])
def test_that_holds_for_coroutines(shop: Shop, pool: str) -> None:
    culprits = "endless_coroutine", "catastrophic_coroutine"
    check_culprits_and_neighbours(shop, *culprits, options=("-P", pool, "-c", "20"))


def test_prefork_ends_both_kinds_without_disturbing_anybody(shop: Shop) -> None:
    worker = shop.worker("-P", "prefork", "-c", "3")
    children = worker.children()
    guilty = [shop.send(name, shop.ledger, name) for name in ("endless", "catastrophe")]
    neighbour = shop.send("nap", 2.5, shop.ledger, "neighbour")
    for result in guilty:
        find_end(result)
    assert neighbour.get(timeout=PATIENCE) == "neighbour"
    assert sorted(shop.lines()) == [
        "end neighbour", "start catastrophe", "start endless", "start neighbour",
    ]  # fmt: skip
    assert worker.children() == children


def test_a_loop_that_ends_is_named_and_loses_no_lease(shop: Shop) -> None:
    worker = shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "1.5s"})
    (pid,) = worker.children()
    neighbour = shop.send("nap", 0.3, shop.ledger, "neighbour", time_limit=1)
    until(shop.lines)
    loop = shop.send("spin_on", 3.5)
    assert loop.get(timeout=PATIENCE) == pid
    assert neighbour.get(timeout=PATIENCE) == "neighbour"
    assert shop.lines() == ["start neighbour", "end neighbour"]
    until(lambda: "let others run again" in worker.output, what="the end of the block is told")
    assert f"shop.spin_on[{loop.id}] has kept others from running for" in worker.output
    assert " in spin_on\n" in worker.output
    assert "has no hard limit" in worker.output
    assert "refused" not in worker.output
    assert worker.children() == [pid]


def test_what_holds_the_lock_without_a_limit_is_named_and_never_killed(shop: Shop) -> None:
    worker = shop.worker(*GREEN)
    (pid,) = worker.children()
    assert shop.send("hold_lock", 3.0).get(timeout=PATIENCE) == pid
    told = "shop.hold_lock holds the interpreter's lock, and no hard limit of it is known"
    until(lambda: told in worker.output, what="what holds the lock is named")
    assert " in hold_lock\n" in worker.output
    assert worker.children() == [pid]


def test_neither_load_nor_a_stopped_process_is_taken_for_a_block(shop: Shop) -> None:
    worker = shop.worker("-P", "gevent", "-c", "1000")
    (pid,) = worker.children()
    results = shop.app.send_many(Call("shop.spin", (0.004,)) for _ in range(1000))
    results[0].get(timeout=PATIENCE)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)  # that the process is silent for so long is what is tried
    os.kill(pid, signal.SIGCONT)
    assert {result.get(timeout=60) for result in results} == {pid}
    assert "greenq.blocked" not in worker.output
    assert "interpreter's lock" not in worker.output


def test_where_the_end_cannot_be_recorded_the_task_runs_again_and_is_charged(shop: Shop) -> None:
    (shop.path / "fragile.py").write_text(
        "import os\nfrom shop import app\nif os.path.exists('broken'):\n    raise RuntimeError('broken')\n"
    )
    worker = shop.worker("-A", "fragile", *GREEN)
    (shop.path / "broken").touch()
    culprit = shop.send("endless", shop.ledger, "endless")
    until(lambda: "could not be recorded" in worker.output, what="the failure of the recording is told")
    (shop.path / "broken").unlink()
    find_end(culprit)
    assert shop.lines() == ["start endless"] * 2
    assert "is killed, and the task delivered again" in worker.output
