"""The application that Celery's integration suite talks to, for a worker in a process of its own.

It is made as the suite's own fixtures make it for the worker that they would start in the suite's process.
"""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped]
from celery.contrib.testing.app import DEFAULT_TEST_CONFIG  # type: ignore[import-untyped]

app = Celery("celery.tests", set_as_current=True, include=["t.integration.tasks"])
app.conf.update(
    {
        **DEFAULT_TEST_CONFIG,
        "broker_url": os.environ["TEST_BROKER"],
        "result_backend": os.environ["TEST_BACKEND"],
        "result_extended": True,
        "task_create_missing_queues": False,
        "broker_connection_retry_on_startup": True,
    }
)


@app.on_after_finalize.connect  # type: ignore[untyped-decorator]
def add_class_tasks(sender: Celery, **_: object) -> None:
    """The suite registers its class-based tasks by hand, too."""
    from t.integration.tasks import ClassBasedAutoRetryTask  # type: ignore[import-not-found]

    sender.register_task(ClassBasedAutoRetryTask())
