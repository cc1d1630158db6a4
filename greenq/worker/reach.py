"""Whether this process reaches its broker, as those see it who call it all the time."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Reach"]


class Reach:
    """Collects what the callers of the broker have met, and loses patience.

    A caller reports its failures, and once when it succeeds again; nothing is reported while all is well.

    Parameters:
        patience: seconds that the broker may be away (`broker.patience`); None for ever.
        changed: told True when every caller reaches the broker again, False when the first does not.
        over: called once when the patience is over.
    """

    def __init__(
        self, patience: float | None, changed: Callable[[bool], None], over: Callable[[float], None]
    ) -> None:
        self._patience = patience
        self._changed = changed
        self._over = over
        self._since: dict[str, float] = {}
        self._lost = False

    @property
    def away(self) -> bool:
        """Whether somebody does not reach it at the moment."""
        return bool(self._since)

    def failed(self, caller: str) -> None:
        """The call of `caller` did not reach the broker."""
        if not self._since:
            self._changed(False)
        self._since.setdefault(caller, time.monotonic())
        self.look()

    def look(self) -> None:
        """Lose patience if it is time to: called every few seconds, also while nobody calls the broker."""
        since = list(self._since.values())
        if since and self._patience is not None and not self._lost:
            away = time.monotonic() - min(since)
            if away > self._patience:
                self._lost = True
                self._over(away)

    def succeeded(self, caller: str) -> None:
        """The call of `caller` has reached it."""
        if self._since.pop(caller, None) is not None and not self._since:
            self._changed(True)
