"""The conformance suite of result stores: every sentence of the `ResultStore` contract, as pytest classes.

A third party runs it against its own store::

    from greenq.testing.stores import SharedStoreConformance

    class TestMyStore(SharedStoreConformance):
        opener = "mypackage.store:MyStore"            # called with the address, encode and decode

        def address(self) -> str:                     # of an empty place, new for each test
            return f"mine://localhost/{uuid.uuid4()}"

Add `FusedStoreConformance` where `ResultStore.commit` works with a broker, and `ChordStoreConformance` where
chords can be counted, else `NoChordsConformance`.
"""

from __future__ import annotations

from greenq.testing.stores.committing import Committing
from greenq.testing.stores.counting import Counting, Refusing
from greenq.testing.stores.keeping import Keeping
from greenq.testing.stores.waiting import Elsewhere, Waiting

__all__ = [
    "ChordStoreConformance",
    "FusedStoreConformance",
    "NoChordsConformance",
    "SharedStoreConformance",
    "StoreConformance",
]


class StoreConformance(Keeping, Waiting):
    """What every result store must do."""


class SharedStoreConformance(StoreConformance, Elsewhere):
    """What every result store must do that several processes can use."""


class ChordStoreConformance(Counting):
    """What every result store must do that counts the members of chords."""


class NoChordsConformance(Refusing):
    """What a result store must do that can't count them."""


class FusedStoreConformance(Committing):
    """What `ResultStore.commit` must do, where it does not return None."""
