from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import weakref

import pytest

import pools.threads
from pools.base import Pool
from pools.conformance import PoolConformance, chores
from pools.conformance.workbench import until
from pools.errors import PoolError
from pools.native import Signal
from pools.threads import ThreadPool


class TestThreadPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return ThreadPool(capacity)


local = threading.local()
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")


def plant() -> int:
    local.value = "soiled"
    variable.set("soiled")
    return threading.get_ident()


def look() -> tuple[int, bool, str]:
    return threading.get_ident(), hasattr(local, "value"), variable.get()


def test_a_reused_thread_has_nothing_of_the_last_call() -> None:
    with ThreadPool(1) as pool:
        for _ in range(20):
            planter = pool.submit(plant).result(10)
            looker, has_value, text = pool.submit(look).result(10)
            assert (looker, has_value, text) == (planter, False, "clean")


def test_a_resource_in_a_thread_local_is_released_when_its_call_has_ended() -> None:
    class Resource:
        pass

    resources: list[weakref.ref[Resource]] = []

    def use() -> None:
        local.resource = Resource()
        resources.append(weakref.ref(local.resource))

    with ThreadPool(4) as pool:
        for _ in range(20):
            pool.spawn(use)
        assert until(pool, lambda: len(resources) == 20 and not any(resource() for resource in resources))


def test_threads_end_when_the_pool_is_closed() -> None:
    def pool_threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("threads-")]

    gate = Signal()
    with ThreadPool(10) as pool:
        for _ in range(10):
            pool.spawn(gate.wait, 60)
        assert len(pool_threads()) == 10
        gate.set()
    assert until(pool, lambda: not pool_threads())


def test_a_thread_without_a_call_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools.threads, "IDLE", 0.05)
    with ThreadPool(10) as pool:
        for _ in range(10):
            pool.spawn(chores.nap, 0.05)
        assert until(pool, lambda: not pool.busy)
        assert until(pool, lambda: pool._idle == 0)
        assert pool.submit(look).result(10)[1] is False


def test_a_call_is_interrupted_while_it_computes() -> None:
    def spin() -> None:
        while True:
            pass

    with ThreadPool(1) as pool:
        call = pool.spawn(spin)
        assert until(pool, lambda: pool.interrupt(call, chores.Interruption("stop")))
        assert until(pool, lambda: call.finished)
        assert isinstance(call.error, chores.Interruption)
        assert call.error.args == ("stop",)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_pools_on_native_threads_refuse_a_patched_process(pool: str) -> None:
    code = f"""
from pools.patching import patch
patch("gevent")
import pools
try:
    pools.create({pool!r}, 1)
except pools.PoolError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "monkey-patched" in done.stdout, done.stderr


def test_a_system_without_threads_left_is_an_error_and_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ThreadPool(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(PoolError, match="lower the pool's capacity"):
                pool.spawn(plant)
        assert pool.free == 1
        assert pool.submit(look).result(10)[1] is False
