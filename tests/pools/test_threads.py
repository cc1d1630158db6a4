from __future__ import annotations

from pools.base import Pool
from pools.conformance import PoolConformance
from pools.threads import ThreadPool


class TestThreadPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return ThreadPool(capacity)
