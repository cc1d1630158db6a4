"""What every pool must do, as tests: run them against your own class with pytest.

::

    from pools.conformance import PoolConformance

    class TestMyPool(PoolConformance):
        def make(self, capacity):
            return MyPool(capacity)

What a pool's `features` exclude is tested to be refused with a reason.
"""

from __future__ import annotations

from pools.conformance.around import AroundTheCalls
from pools.conformance.ending import Ending
from pools.conformance.results import Results
from pools.conformance.size import Size

__all__ = ["PoolConformance"]


class PoolConformance(Results, Size, Ending, AroundTheCalls):
    """Every test; a subclass says how to make a pool."""
