"""Answers remote control: what is asked over the radio is done here, one thing after the other.

A native thread hears it, so that a busy worker misses nothing; the service that does it has its own place
beside the pool's calls, so that a full pool keeps no answer back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from greenq.codecs import Codecs
from greenq.control.panel import PANEL
from greenq.control.state import ControlState
from greenq.control.wire import Request, Unreadable, exchange_of, read_request
from greenq.errors import GreenqError
from greenq.radio import Post, Radio
from pools.bell import Bell

__all__ = ["Control"]

log = logging.getLogger("greenq.control")

MOST_WAITING = 1000
"""Requests that wait; what comes beyond that is not heard."""
IDLE = 5.0
OLDEST = 3600.0
"""Seconds after which a request without an answer is too old to be obeyed, as after a long stop."""


class Control:
    """Listens for requests, and obeys those that are for this worker.

    Parameters:
        state: the worker.
        radio: where requests come from and answers go.
        namespace: ``celery``, unless all nodes say otherwise.
        codecs: decode requests.
        timeout: seconds that an answer may take on its way.

    Attributes:
        chores: asked again and again what else is to be done in this service, and when the next of it is due.
    """

    def __init__(
        self, state: ControlState, radio: Radio, namespace: str, codecs: Codecs, timeout: float
    ) -> None:
        self._state = state
        self._radio = radio
        self._namespace = namespace
        self._codecs = codecs
        self._timeout = timeout
        self._heard: deque[Callable[[], None]] = deque()
        self._bell = Bell()
        self._stopping = False
        self.chores: list[Callable[[], float | None]] = []

    def listen(self) -> None:
        """Hear what is asked from now on."""
        self._radio.listen(exchange_of(self._namespace), self._state.hostname, self._hear)

    def _hear(self, post: Post) -> None:
        """Something was said: in the native thread that listens."""
        self.soon(lambda: self._take(post))

    def soon(self, work: Callable[[], None]) -> None:
        """Have this done by the service; returns at once."""
        if len(self._heard) < MOST_WAITING:
            self._heard.append(work)
            self._bell.ring()
        else:
            log.warning("more is asked of this worker than it can answer: something was not heard")

    # ── the service ──────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Do what is asked until `stop`."""
        while not self._stopping:
            while self._heard:
                self._attempt(self._heard.popleft())
            pause = IDLE
            for chore in self.chores:
                due = self._attempt(chore)
                if due is not None:
                    pause = min(pause, max(0.0, due - time.monotonic()))
            self._bell.wait(pause)

    def _attempt(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception:
            # Whatever a stranger sent must not end remote control.
            log.exception("something that was asked of this worker failed")
            return None

    def stop(self) -> None:
        """Hear no more, and end the service."""
        self._stopping = True
        self._bell.ring()

    # ── one request ──────────────────────────────────────────────────────────────────────────────────────

    def _take(self, post: Post) -> None:
        self._state.clock.adjust(post.headers.get("clock"))
        try:
            request = read_request(post, self._codecs)
        except Unreadable as error:
            log.warning("a request cannot be read: %s", error)
            return
        if not request.is_for(self._state.hostname) or self._is_late(request):
            return
        reply = self.obey(request)
        if request.reply_exchange:
            try:
                answer = request.answer(self._state.hostname, reply, self._state.clock)
                self._radio.reply([answer], self._timeout)
            except GreenqError as error:
                log.warning("the answer to %a is lost: %s", request.method, error)

    def _is_late(self, request: Request) -> bool:
        """Whether nobody waits for its answer any more, by so much that it was not meant for now."""
        return request.expires is not None and time.time() > request.expires + OLDEST

    def obey(self, request: Request) -> Any:
        """Do what is asked; the answer."""
        command = PANEL.get(request.method)
        if command is None:
            log.warning("there is no command %a", request.method[:100])
            return {"error": repr(KeyError(request.method[:100]))}
        try:
            return command.run(self._state, **request.arguments)
        except Exception as error:
            log.warning("%s failed: %r", request.method, error)
            return {"error": f"{error!r:.1000}"}
