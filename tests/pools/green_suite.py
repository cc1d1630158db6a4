"""The conformance suite of a green pool; run by test_green.py in a process of its own, patched or not."""

from __future__ import annotations

import os

from pools.base import Pool
from pools.conformance import PoolConformance
from pools.table import create


class TestGreenPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return create(os.environ["GREEN_POOL"], capacity)
