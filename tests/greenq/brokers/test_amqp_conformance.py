"""The RabbitMQ broker does what the contract says, on each kind of queue."""

from __future__ import annotations

from greenq.testing.brokers import SharedBrokerConformance
from greenq.testing.brokers.base import HOSTILE
from tests.rabbit import shared_rabbit


class AmqpConformance(SharedBrokerConformance):
    names = tuple(name for name in HOSTILE if "\n" not in name)


class TestClassicQueues(AmqpConformance):
    def address(self) -> str:
        return shared_rabbit().empty()


class TestPriorityQueues(AmqpConformance):
    def address(self) -> str:
        return f"{shared_rabbit().empty()}?max_priority=9"


class TestQuorumQueues(AmqpConformance):
    def address(self) -> str:
        return f"{shared_rabbit().empty()}?queue_type=quorum"
