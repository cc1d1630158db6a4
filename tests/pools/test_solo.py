from __future__ import annotations

from pools.base import Pool
from pools.conformance import PoolConformance
from pools.solo import SoloPool


class TestSoloPool(PoolConformance):
    inline = True

    def make(self, capacity: int) -> Pool:
        return SoloPool(capacity)
