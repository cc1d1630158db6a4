"""A worker process's line to its supervisor: what it announces, and what it is asked to do.

Both sides write JSON, one object a line; `greenq.worker.supervision.child` has the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Line"]


class Line:
    """The worker's end.

    Parameters:
        fd: the socket, as the supervisor handed it over.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._turn = threading.Lock()

    def tell(self, **news: Any) -> None:
        """Announce something; from any thread. A supervisor that has gone needs no news."""
        with self._turn, contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(news).encode() + b"\n")

    def listen(self, give_back: Callable[[Sequence[str], bool], None]) -> None:
        """Do what the supervisor asks for, in a thread of its own.

        Parameters:
            give_back: returns the messages that dead processes held, whose names it gets; True charges what
                they ran with their deaths.
        """

        def obey() -> None:
            with contextlib.suppress(OSError), self._socket.makefile("rb") as orders:
                for line in orders:
                    order = json.loads(line)
                    give_back(order["release"], True)
                    give_back(order["release_uncharged"], False)
            # The supervisor has gone without a word. Linux ends us then by itself, other systems don't.
            os._exit(1)

        threading.Thread(target=obey, name="greenq-line", daemon=True).start()
