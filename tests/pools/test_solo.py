from __future__ import annotations

import threading

import pytest

from pools.base import Pool
from pools.conformance import PoolConformance
from pools.errors import PoolError, Unsupported
from pools.solo import SoloPool


class TestSoloPool(PoolConformance):
    inline = True

    def make(self, capacity: int) -> Pool:
        return SoloPool(capacity)


def test_spawn_returns_when_the_call_has_ended() -> None:
    with SoloPool(1) as pool:
        call = pool.spawn(threading.get_ident)
        assert call.finished
        assert call.value == threading.get_ident()


def test_more_than_one_at_once_is_refused_with_what_to_do() -> None:
    with pytest.raises(Unsupported, match="threads, gevent or prefork"):
        SoloPool(2)


def test_a_call_that_spawns_into_its_own_pool_is_told_instead_of_waiting_for_itself() -> None:
    with SoloPool(1) as pool:
        call = pool.spawn(pool.spawn, int)
        assert isinstance(call.error, PoolError)
        assert "wait for itself" in str(call.error)


def test_done_may_spawn_the_next_call() -> None:
    ended = []
    with SoloPool(1) as pool:
        pool.spawn(int, done=lambda _: ended.append(pool.spawn(int, "7").value))
    assert ended == [7]
