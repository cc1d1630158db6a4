"""The Redis result store does what the contract says."""

from __future__ import annotations

from greenq.brokers import Broker, connect
from greenq.testing.stores import ChordStoreConformance, FusedStoreConformance, SharedStoreConformance
from tests.servers import shared_redis


class TestRedisStore(SharedStoreConformance, FusedStoreConformance, ChordStoreConformance):
    def address(self) -> str:
        return shared_redis().empty()

    def partner(self) -> Broker:
        return connect(self.here)

    def stranger(self) -> Broker:
        return connect("memory://stranger")
