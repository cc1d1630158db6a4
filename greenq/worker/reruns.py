"""Redeliveries of what this process itself runs or has finished: matched by id, not run again.

A process that stood still for longer than its lease, or could not reach its broker, has lost what it runs,
and may be given it again. The outcome of the first run is refused under the lost lease; it is kept, and
committed under the lease of the redelivery.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from greenq.failures import plain
from greenq.message import Delivery, Outcome, Verdict
from greenq.protocol import Key, key_of
from greenq.worker.settler import Settler

__all__ = ["Reruns"]

log = logging.getLogger("greenq.suspects")

REMEMBERED = 4_000
"""Outcomes that were refused and are kept for their redelivery; the oldest are forgotten first."""

VANISHED = 0.5
"""Seconds after which a run that is neither under way nor waits to be committed is over."""


def _key(delivery: Delivery) -> Key | None:
    return key_of(delivery.message) if delivery.message is not None else None


class Reruns:
    """Holds redeliveries back whose first run is not over, and ends those whose first run is.

    Parameters:
        running: what runs in this process, or is about to.
        recognised: whether the broker itself ends what comes back although it was to be acknowledged.
    """

    def __init__(
        self, settler: Settler, running: Callable[[], Iterable[Delivery]], recognised: bool = False
    ) -> None:
        self._settler = settler
        self._running = running
        self._recognised = recognised
        self._refused: OrderedDict[Key, Outcome] = OrderedDict()
        self._twins: dict[Key, Delivery] = {}
        self._missed: dict[Key, float] = {}
        self.on_refused: Callable[[], None] | None = None
        """Told that a redelivery may have its end now."""
        settler.on_refused = self._remember

    def __len__(self) -> int:
        """How many redeliveries wait for the end of their first run."""
        return len(self._twins)

    def _remember(self, outcome: Outcome) -> None:
        """A settlement was refused: keep what the run left behind, if it had come to an end."""
        settlement, key = outcome.settlement, _key(outcome.delivery)
        if key is None or settlement is None or settlement.verdict not in (Verdict.ACK, Verdict.DEAD):
            return
        if self._recognised and settlement.verdict is Verdict.ACK and key not in self._twins:
            return  # kept for ever, it would end the next message that is sent with the same id
        nobody = Delivery(None, outcome.delivery.queue, None)  # the message itself comes again
        self._refused[key] = replace(
            outcome, delivery=nobody, settlement=replace(settlement, delivery=nobody)
        )
        if len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)
        if self.on_refused is not None:
            self.on_refused()

    def sort_out(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are neither running here nor finished; the others are taken care of."""
        live = self._live() if deliveries else set()
        others = []
        for delivery in deliveries:
            key = _key(delivery)
            if key is not None and self._end(key, delivery):
                continue
            if key is None or key not in live:
                others.append(delivery)
                live.add(key)  # a copy that comes with it waits for its end
                continue
            log.warning("%s runs here already: it is not run again", _name(delivery))
            self._twins[key] = delivery
        return others

    def look(self) -> list[Delivery]:
        """Commit what can be now; those redeliveries whose first run has vanished without a trace."""
        live = self._live() if self._twins else set()
        now = time.monotonic()
        vanished = []
        for key, delivery in list(self._twins.items()):
            if self._end(key, delivery):
                del self._twins[key]
            elif key in live:
                self._missed.pop(key, None)
            # For a moment it may be on its way from its end to the settler.
            elif now - self._missed.setdefault(key, now) > VANISHED:
                del self._missed[key]
                vanished.append(self._twins.pop(key))
        return vanished

    def _end(self, key: Key, delivery: Delivery) -> bool:
        """Commit the outcome of the first run under the new lease, if there is one."""
        outcome = self._refused.pop(key, None)
        if outcome is None or outcome.settlement is None:
            return False
        log.warning("%s was finished here already: its outcome is committed again", _name(delivery))
        again = replace(outcome.settlement, delivery=delivery)
        self._settler.add(replace(outcome, delivery=delivery, settlement=again))
        return True

    def _live(self) -> set[Key | None]:
        """What runs here, or has run and waits to be committed."""
        live = {_key(delivery) for delivery in self._running()}
        live.update(_key(outcome.delivery) for outcome in self._settler.pending())
        return live


def _name(delivery: Delivery) -> str:
    headers = delivery.message.headers if delivery.message is not None else {}
    return plain(f"{headers.get('task')}[{headers.get('id')}]")
