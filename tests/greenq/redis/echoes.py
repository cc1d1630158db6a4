"""Many callers of one client, some of them interrupted in the middle: run as a program.

Parameters: the world (``gevent``, ``eventlet`` or ``threads``) and the server's address.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from typing import Any


def main(world: str, url: str) -> None:
    """Print how many calls were answered, and how many interrupted; fail if an answer was another's."""
    if world == "gevent":
        from gevent import monkey

        monkey.patch_all()
    elif world == "eventlet":
        import eventlet

        eventlet.monkey_patch()
    import threading

    from greenq.redis.address import parse
    from greenq.redis.client import Client
    from greenq.redis.failures import Failure

    client = Client(parse(url))
    answered, interrupted = 0, 0

    def limit() -> Any:
        if world == "gevent":
            import gevent

            return gevent.Timeout(random.uniform(0.0002, 0.02))
        import eventlet

        return eventlet.Timeout(random.uniform(0.0002, 0.02))

    def call(name: str) -> None:
        nonlocal answered
        reply = client.do("ECHO", name, deadline=time.monotonic() + 30.0)
        assert reply == name.encode(), (reply, name)
        answered += 1

    def caller(number: int) -> None:
        nonlocal interrupted
        for i in range(60):
            if world == "threads" or random.random() < 0.5:
                with contextlib.suppress(Failure):  # whoever carried it was interrupted
                    call(f"{number}-{i}")
                continue
            timeout = limit()
            if world == "gevent":
                timeout.start()
            try:
                call(f"{number}-{i}")
            except type(timeout) as error:
                if error is not timeout:
                    raise
                interrupted += 1
            except Failure:
                pass
            finally:
                timeout.close() if world == "gevent" else timeout.cancel()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    call("last")
    print(answered, interrupted)


if __name__ == "__main__":
    main(*sys.argv[1:])
