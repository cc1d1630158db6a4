"""Ten thousand green threads that send at once; prints what came of it as JSON.

python -m tests.fuzz.crowd BROKER 10000
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

__all__ = ["crowd"]


def crowd(broker: str, size: int) -> dict[str, Any]:
    """Let so many green threads call `delay` at once."""
    from gevent import monkey

    monkey.patch_all()

    import gevent

    from greenq import GreenQ

    app = GreenQ("crowd", broker=broker, results=None)

    @app.task(name="crowd.nothing", ignore_result=True)
    def nothing(number: int) -> None:
        return None

    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    nothing.delay(-1)
    before = files()
    most = before
    ids: set[str] = set()
    errors: list[str] = []

    def send(number: int) -> None:
        nonlocal most
        try:
            ids.add(nothing.delay(number).id)
        except Exception as error:
            errors.append(repr(error))
        if number % 100 == 0:
            most = max(most, files())

    gevent.joinall([gevent.spawn(send, number) for number in range(size)])
    ready = app.broker.depth()["celery"].ready
    app.close()
    return {"ids": len(ids), "errors": errors[:3], "ready": ready, "more_files": most - before}


if __name__ == "__main__":
    print(json.dumps(crowd(sys.argv[1], int(sys.argv[2]))))
