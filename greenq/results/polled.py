"""What stores have in common whose server cannot push, and whose client blocks."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from greenq.brokers.owner import Late, Owner
from greenq.errors import GreenqError, ResultStoreError
from greenq.message import READY_STATES, Result
from greenq.results.base import ResultStore
from greenq.results.polling import Poller

__all__ = ["PolledStore"]


class PolledStore(ResultStore):
    """A store that one native thread talks to, and where one reader looks for all who wait.

    Parameters:
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.
        thread: the name of the thread that the client belongs to.
        where: the server, for messages.

    Attributes:
        failures: what the client raises, apart from greenq's own errors; see `_explain`.
    """

    failures: ClassVar[tuple[type[Exception], ...]]

    def __init__(
        self,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Any],
        timeout: float,
        thread: str,
        where: str,
    ) -> None:
        super().__init__(encode, decode)
        self._timeout = timeout
        self._where = where
        self._owner = Owner(thread, self._start_over)
        self._poller = Poller(self._ended)
        self._closed = False

    # ── what each store does in its own way ──────────────────────────────────────────────────────────────

    @abstractmethod
    def _key(self, id: str) -> str:
        """What the result of a task is kept under."""

    @abstractmethod
    def _keep(self, results: dict[str, Result], deadline: float) -> None:
        """Store results by key; a terminal one that is there stays. In the thread of the client."""

    @abstractmethod
    def _shut(self) -> None:
        """End the connections, in the thread of the client."""

    @abstractmethod
    def _start_over(self) -> None:
        """Connect anew in a forked child: the parent goes on with the connections that there are."""

    @abstractmethod
    def _late(self, timeout: float, late: Late) -> str:
        """Say that a call took longer than so many seconds."""

    @abstractmethod
    def _explain(self, error: Exception) -> ResultStoreError:
        """Translate one of `failures`."""

    # ── what all do alike ────────────────────────────────────────────────────────────────────────────────

    def put(self, results: Sequence[Result], timeout: float) -> None:
        self._open()
        latest: dict[str, Result] = {}
        for result in results:
            key = self._key(result.id)
            known = latest.get(key)
            if known is None or known.state not in READY_STATES:
                latest[key] = result
        if not latest:
            return
        deadline = time.monotonic() + timeout
        self._call(lambda: self._keep(latest, deadline), timeout)
        ended = {one.id: one for one in latest.values() if one.state in READY_STATES}
        wanted = self._poller.waiters.wanted(ended)
        if wanted:
            self._poller.tell({id: self.decode(ended[id].payload) for id in wanted})

    def _ended(self, ids: Collection[str]) -> Mapping[str, Result]:
        found = self.get(ids, self._timeout)
        return {id: result for id, result in found.items() if result.state in READY_STATES}

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = frozenset(ids)
        self._open()
        found = self._poller.wait(wanted, timeout) if wanted else {}
        if not found:
            self._open()
        return found

    def close(self) -> None:
        if self._closed:
            return
        self._poller.close()
        with contextlib.suppress(ResultStoreError):
            self._call(self._shut, self._timeout)
        self._closed = True
        self._owner.close(1.0)

    def _open(self) -> None:
        if self._closed:
            raise ResultStoreError("this result store is closed: make another one")

    def _call(self, fn: Callable[[], Any], timeout: float) -> Any:
        self._open()
        try:
            return self._owner.call(fn, timeout)
        except Late as late:
            raise ResultStoreError(self._late(timeout, late)) from late
        except GreenqError:
            raise
        except self.failures as error:
            raise self._explain(error) from error
