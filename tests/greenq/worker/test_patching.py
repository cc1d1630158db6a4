"""The command knows the pool before it imports anything that opens a socket or makes a lock."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE

BEFORE_PATCHING = """
import sys
before = set(sys.modules)
import greenq.worker.process
from greenq.config import load
load("greenq.yaml")
import pools.patching
pools.patching.library("gevent")
print(*sorted(set(sys.modules) - before))
"""
TOO_EARLY = {
    "asyncio", "concurrent.futures", "eventlet", "gevent", "kombu", "logging", "multiprocessing", "queue",
    "selectors", "socket", "ssl", "subprocess", "threading",
}  # fmt: skip


def test_nothing_that_opens_a_socket_or_makes_a_lock_is_imported_before_patching(shop: Shop) -> None:
    (shop.path / "greenq.yaml").write_text("worker: {pool: gevent}\n")
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_PATCHING], cwd=shop.path, capture_output=True, text=True, check=True
    )
    assert not TOO_EARLY & set(done.stdout.split())


@pytest.mark.parametrize("where", ["option", "variable", "file"])
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_the_pool_may_be_named_anywhere_and_the_application_is_green(
    shop: Shop, where: str, pool: str
) -> None:
    if where == "file":
        (shop.path / "greenq.yaml").write_text(f"worker: {{pool: {pool}, concurrency: 5}}\n")
    shop.worker(
        *(("-P", pool) if where == "option" else ()),
        env={"GREENQ_WORKER_POOL": pool} if where == "variable" else {},
    )
    assert shop.send("patched").get(timeout=PATIENCE) == [pool, pool]


def test_other_pools_patch_nothing(shop: Shop) -> None:
    shop.worker("-P", "threads", env={"SHOP_NO_LIMITS": "1"})
    assert shop.send("patched").get(timeout=PATIENCE) == ["socket", "time"]


def test_a_pool_that_only_the_code_names_is_refused_with_where_to_name_it(shop: Shop) -> None:
    (shop.path / "late.py").write_text(
        "from greenq import GreenQ\napp = GreenQ('late', worker={'pool': 'threads'})\n"
    )
    worker = shop.worker("-A", "late", ready=False)
    assert worker.wait() == 2
    assert "--pool threads" in worker.output
