"""The greenq application: `INTEROP_BROKER` and `INTEROP_RESULTS` say where it works."""

from __future__ import annotations

import os

from greenq import GreenQ
from tests.greenq.interop import work

QUEUE = "to-greenq"
ACCEPT = ["json", "msgpack", "yaml", "pickle"]


def make(broker: str, results: str) -> GreenQ:
    """Make the application for an address."""
    app = GreenQ(
        "interop", broker=broker, results={"url": results, "extended": True}, accept=ACCEPT,
        tasks={"queue": QUEUE, "compress_over": 0},
    )  # fmt: skip
    for name in work.NAMES:
        app.task(getattr(work, name), name=f"interop.{name}")
    app.task(work.note, name="interop.note", ignore_result=True)
    app.task(work.persist, name="interop.persist", bind=True)
    return app


if "INTEROP_BROKER" in os.environ:
    app = make(os.environ["INTEROP_BROKER"], os.environ["INTEROP_RESULTS"])
