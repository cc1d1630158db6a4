from __future__ import annotations

from pools.base import Pool
from pools.conformance import PoolConformance
from pools.prefork import PreforkPool


class TestPreforkPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return PreforkPool(capacity)
