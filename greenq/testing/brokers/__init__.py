"""The conformance suite of brokers: every sentence of the `Broker` contract, as pytest classes.

A third party runs it against its own broker::

    from greenq.testing.brokers import SharedBrokerConformance

    class TestMyBroker(SharedBrokerConformance):
        opener = "mypackage.broker:MyBroker"          # called with the address

        def address(self) -> str:                     # of an empty place, new for each test
            return f"mine://localhost/{uuid.uuid4()}"
"""

from __future__ import annotations

from greenq.testing.brokers.leasing import Leasing
from greenq.testing.brokers.processes import Hubs, Processes
from greenq.testing.brokers.sending import Sending
from greenq.testing.brokers.suspecting import Suspecting
from greenq.testing.brokers.upkeep import Upkeep

__all__ = ["BrokerConformance", "SharedBrokerConformance"]


class BrokerConformance(Sending, Leasing, Suspecting, Upkeep, Hubs):
    """What every broker must do."""


class SharedBrokerConformance(BrokerConformance, Processes):
    """What every broker must do that several processes can use (`guarantees.shared`)."""
