"""The same tasks end the same way under every pool: state, result, message."""

from __future__ import annotations

import pytest

from greenq import Call, GreenqError
from greenq.errors import RemoteError, SoftTimeLimitExceeded, TimeLimitExceeded
from greenq.message import Depth
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

POOLS = {
    "gevent": ("-P", "gevent", "-c", "20"),
    "eventlet": ("-P", "eventlet", "-c", "20"),
    "prefork": ("-P", "prefork", "-c", "2"),
    "threads": ("-P", "threads", "-c", "4"),
    "solo": ("-P", "solo", "-c", "1"),
    "asyncio": ("-P", "asyncio", "-c", "20"),
}
NO_LIMITS = ("threads", "solo")
"""Pools that can't keep hard limits, so that an application with one is refused."""


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    return request.param


def test_tasks_end_the_same_way_under_every_pool(shop: Shop, pool: str) -> None:
    shop.worker(*POOLS[pool], env={"SHOP_NO_LIMITS": "1"} if pool in NO_LIMITS else {})
    sent = {
        "add": shop.send("add", 2, 3),
        "fail": shop.send("fail", "bang"),
        "unencodable": shop.send("unencodable"),
        "flaky": shop.send("flaky", 2),
        "always_failing": shop.send("always_failing"),
        "leave": shop.send("leave"),
        "about_me": shop.send("about_me"),
        "parent": shop.send("parent"),
        "coroutine": shop.send("coroutine", 1),
        "expired": shop.send("add", 1, 1, expires=-1),
        "unknown": shop.send("no_such_task"),
    }
    assert sent["add"].get(timeout=PATIENCE) == 5
    with pytest.raises(ValueError, match="bang") as raised:
        sent["fail"].get(timeout=PATIENCE)
    assert raised.value.args == ("bang", 42)
    assert "in fail" in sent["fail"].traceback
    assert "runner.py" not in sent["fail"].traceback
    with pytest.raises(GreenqError, match="object"):
        sent["unencodable"].get(timeout=PATIENCE)
    assert sent["flaky"].get(timeout=PATIENCE) == 2
    with pytest.raises(KeyError):
        sent["always_failing"].get(timeout=PATIENCE)
    with pytest.raises((SystemExit, RemoteError)):
        sent["leave"].get(timeout=PATIENCE)
    about = sent["about_me"].get(timeout=PATIENCE)
    assert about["id"] == about["root_id"] == sent["about_me"].id
    assert about["task"] == "shop.about_me"
    assert about["queue"] == "celery"
    child = shop.app.AsyncResult(sent["parent"].get(timeout=PATIENCE))
    assert child.get(timeout=PATIENCE) == 3
    assert [result.id for result in sent["parent"].children] == [child.id]
    assert sent["coroutine"].get(timeout=PATIENCE) == [2, "127.0.0.1", 7]
    with pytest.raises(GreenqError, match="expired"):
        sent["expired"].get(timeout=PATIENCE)
    assert sent["expired"].state == "REVOKED"
    with pytest.raises(GreenqError, match="no_such_task"):
        sent["unknown"].get(timeout=PATIENCE)
    until(lambda: shop.depth().leased == 0, what="everything settled")
    assert (shop.depth().ready, shop.depth().dead) == (0, 1)


def test_ignore_and_reject_leave_what_celery_leaves(shop: Shop, pool: str) -> None:
    shop.worker(*POOLS[pool], env={"SHOP_NO_LIMITS": "1"} if pool in NO_LIMITS else {})
    ignored = shop.send("ignore")
    rejected = shop.send("reject", False, shop.ledger + "-dead")
    requeued = shop.send("reject", True, shop.ledger)
    assert requeued.get(timeout=PATIENCE) == "second time"
    until(lambda: shop.depth().dead == 1, what="the rejected one is dead-lettered")
    until(lambda: shop.depth().leased == 0, what="everything settled")
    assert (ignored.state, rejected.state) == ("PENDING", "PENDING")
    assert "bad goods" in shop.app.broker.dead()[0].reason


@pytest.mark.parametrize("pool", ["gevent"])
def test_what_failed_is_kept_where_a_task_says_so(shop: Shop, pool: str) -> None:
    shop.worker(*POOLS[pool])
    kept, ignored, stored = (
        shop.send("fail_and_keep"),
        shop.send("fail_unless", True),
        shop.send("fail_unless", False),
    )
    for result in (kept, stored):
        with pytest.raises(ValueError, match=r"keep me|stored"):
            result.get(timeout=PATIENCE)
    until(lambda: shop.depth() == Depth(dead=1), what="everything settled")
    (letter,) = shop.app.broker.dead()
    assert "keep me" in letter.reason
    assert "fail_and_keep" in (letter.trace or "")
    assert ignored.state == "PENDING"


@pytest.mark.parametrize("pool", [pool for pool in POOLS if pool not in NO_LIMITS])
def test_soft_and_hard_limits_end_tasks_the_same_way(shop: Shop, pool: str) -> None:
    shop.worker(*POOLS[pool])
    # Where a plain function runs in a thread, a soft limit waits for its blocking call to return.
    name = "soft_coroutine" if pool == "asyncio" else "soft"
    soft, hard = shop.send(name, shop.ledger), shop.send("hard", shop.ledger + "-hard")
    with pytest.raises(SoftTimeLimitExceeded):
        soft.get(timeout=PATIENCE)
    with pytest.raises(TimeLimitExceeded):
        hard.get(timeout=PATIENCE)
    assert (soft.state, hard.state) == ("FAILURE", "FAILURE")
    assert shop.lines() == ["soft"]
    assert shop.send("add", 1, 1).get(timeout=PATIENCE) == 2
    until(lambda: shop.depth().leased == 0, what="everything settled")
    assert (shop.depth().ready, shop.depth().dead) == (0, 0)


@pytest.mark.parametrize("pool", NO_LIMITS)
def test_a_pool_that_cannot_keep_a_hard_limit_refuses_it_with_the_reason(shop: Shop, pool: str) -> None:
    worker = shop.worker(*POOLS[pool], ready=False)
    assert worker.wait() == 2
    assert "time_limit" in worker.output
    assert pool in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "threads"])
def test_a_reused_thread_leaks_nothing_into_the_next_task(shop: Shop, pool: str) -> None:
    shop.worker("-P", pool, "-c", "1", env={"SHOP_NO_LIMITS": "1"})
    shop.send("plant").get(timeout=PATIENCE)
    for _ in range(5):
        assert shop.send("look").get(timeout=PATIENCE) == [None, None]


def test_at_most_three_of_our_frames_are_above_the_users_function(shop: Shop, pool: str) -> None:
    shop.worker(*POOLS[pool], env={"SHOP_NO_LIMITS": "1"} if pool in NO_LIMITS else {})
    above = shop.send("frames").get(timeout=PATIENCE)
    assert len([module for module in above if module.split(".")[0] == "greenq"]) <= 3, above


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_thousand_naps_are_taken_at_once(shop: Shop, pool: str) -> None:
    # Longer than a busy machine takes to begin the last of them.
    shop.app.send_many(Call("shop.nap", (5, shop.ledger, str(n))) for n in range(1000))
    shop.worker("-P", pool, "-c", "1000", "--burst", ready=False).wait()
    most = running = 0
    for line in shop.lines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    assert (most, running) == (1000, 0)


def test_work_that_computes_uses_every_processor_under_prefork(shop: Shop) -> None:
    shop.worker("-P", "prefork", "-c", "2")
    results = shop.app.send_many(Call("shop.spin", (0.05,)) for _ in range(40))
    pids = [result.get(timeout=PATIENCE) for result in results]
    assert len(set(pids)) == 2
    assert min(pids.count(pid) for pid in set(pids)) >= 10
