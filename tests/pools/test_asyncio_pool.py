from __future__ import annotations

from pools.asyncio import AsyncioPool
from pools.base import Pool
from pools.conformance import PoolConformance


class TestAsyncioPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return AsyncioPool(capacity)
