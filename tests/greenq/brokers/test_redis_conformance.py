"""The Redis broker does what the contract says."""

from __future__ import annotations

from greenq.testing.brokers import SharedBrokerConformance
from tests.servers import shared_redis


class TestRedisBroker(SharedBrokerConformance):
    def address(self) -> str:
        return shared_redis().empty()
