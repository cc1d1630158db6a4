"""Results as replies over RabbitMQ: the contract, but for what stores share: a reply is for one of them."""

from __future__ import annotations

from collections.abc import Sequence

from greenq.message import Result
from greenq.results.rpc import RpcStore
from greenq.testing.messages import until
from greenq.testing.stores import NoChordsConformance, StoreConformance
from tests.rabbit import shared_rabbit


class OwnReplies(RpcStore):
    """Sends every result to itself, and returns when they have come."""

    received = 0

    def _delivered(self, payload: bytes, header: bytes, body: bytes) -> None:
        super()._delivered(payload, header, body)
        self.received += 1

    def put(self, results: Sequence[Result], timeout: float) -> None:
        before = self.received
        for result in results:
            result.reply_to = self.reply_to
        super().put(results, timeout)
        until(lambda: self.received >= before + len(results), "the replies")


class TestRpc(StoreConformance, NoChordsConformance):
    opener = "tests.greenq.results.test_rpc_conformance:OwnReplies"

    test_another_store_of_the_place_sees_it = None
    test_another_store_of_the_place_wakes_a_waiter = None
    test_a_closed_store_says_so = None

    def address(self) -> str:
        return shared_rabbit().empty().replace("amqp://", "rpc://")
