"""The application that workers under remote control serve; where it is says the environment."""

from __future__ import annotations

import os
import time
from typing import Any

from greenq import GreenQ
from greenq.errors import Ignore, Reject

URL = os.environ.get("STEERED_URL", "memory://steered")


def make(url: str, **settings: Any) -> GreenQ:
    """An application on that broker, which keeps its results there too."""
    app = GreenQ("works", broker=url, results=os.environ.get("STEERED_RESULTS", url), **settings)

    @app.task(name="works.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="works.sleep")
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @app.task(name="works.fail")
    def fail() -> None:
        raise ValueError("as it should")

    @app.task(name="works.again", bind=True, max_retries=1)
    def again(self: Any) -> None:
        raise self.retry(countdown=0, exc=ValueError("once more"))

    @app.task(name="works.reject")
    def reject() -> None:
        raise Reject("no", requeue=False)

    @app.task(name="works.ignore")
    def ignore() -> None:
        raise Ignore

    @app.task(name="works.stubborn")
    def stubborn(path: str) -> None:
        try:
            time.sleep(600)
        finally:
            with open(path, "a") as file:
                file.write("cleaned up\n")

    return app


app = make(URL)
