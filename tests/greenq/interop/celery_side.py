"""The Celery application: `INTEROP_BROKER` and `INTEROP_RESULTS` say where it works."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.greenq.interop import work

QUEUE = "to-celery"
ACCEPT = ["json", "msgpack", "yaml", "pickle"]


def make(broker: str, results: str) -> Celery:
    """Make the application for an address."""
    options: dict[str, Any] = {"polling_interval": 0.1} if broker.startswith("filesystem://") else {}
    if broker.startswith("filesystem://"):
        folder = broker.removeprefix("filesystem://")
        broker = "filesystem://"
        options |= {
            "data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control"
        }  # fmt: skip
    app = Celery("interop", broker=broker, backend=results, set_as_current=False)
    if broker.startswith(("filesystem", "sqla")):
        # Neither transport has what remote control needs.
        app.conf.update(broker_transport_options=options, worker_enable_remote_control=False)
    app.conf.update(
        accept_content=ACCEPT, result_accept_content=["json"], task_default_queue=QUEUE,
        broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, result_extended=True,
    )  # fmt: skip
    for name in work.NAMES:
        app.task(getattr(work, name), name=f"interop.{name}")
    app.task(work.note, name="interop.note", ignore_result=True)
    app.task(work.persist, name="interop.persist", bind=True)
    return app


if "INTEROP_BROKER" in os.environ:
    app = make(os.environ["INTEROP_BROKER"], os.environ["INTEROP_RESULTS"])
