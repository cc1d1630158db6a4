"""`greenq queues list` shows what is in the queues of either broker, whoever sent it and whoever has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Exchange, Queue

from tests.greenq.interop.celery_side import make as make_celery
from tests.greenq.interop.greenq_side import make as make_greenq
from tests.rabbit import RabbitServer, start_rabbitmq
from tests.servers import free_port, shared_redis

PATIENCE = 60.0
PRIORITIES = (0, 3, 3, 9, 9, 9)


@pytest.fixture(scope="module")
def managed() -> Iterator[tuple[RabbitServer, int]]:
    port = free_port()
    server = start_rabbitmq(
        f"management.tcp.port = {port}", "management.tcp.ip = 127.0.0.1", plugins=("rabbitmq_management",)
    )
    yield server, port
    server.stop()


def listed(url: str, **settings: str) -> dict[str, Any]:
    """What the command prints that knows nothing but the address, and these settings."""
    printed = subprocess.run(
        [sys.executable, "-m", "greenq", "queues", "list", "--json"],
        env=os.environ | {"GREENQ_BROKER_URL": url} | settings,
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


def fill(url: str, results: str, arguments: dict[str, Any]) -> None:
    """Send six calls of different priority from each side to one queue."""
    celery, greenq = make_celery(url.partition("?")[0], results), make_greenq(url, results)
    queue = Queue("filled", Exchange("filled"), "filled", queue_arguments=arguments)
    for priority in PRIORITIES:
        celery.send_task("interop.add", (1, 2), priority=priority, queue=queue)
        greenq.send_task("interop.add", (1, 2), priority=priority, queue="filled")
    celery.close()
    greenq.close()


def test_on_redis_with_priorities() -> None:
    url = shared_redis().empty()
    fill(url, url, {})
    filled = listed(url)["filled"]
    assert filled["ready"] == 12
    assert filled["by_priority"] == {"0": 2, "3": 4, "9": 6}


def test_on_rabbitmq_with_priorities_and_what_a_celery_worker_has(managed: tuple[RabbitServer, int]) -> None:
    server, port = managed
    url = server.empty()
    fill(url, "rpc://", {"x-max-priority": 9})
    celery = make_celery(url, "rpc://")
    with celery.connection_for_read() as connection:
        channel = connection.channel()
        assert channel.basic_get("filled").properties["priority"] == 9
        filled = listed(f"{url}?management=http://127.0.0.1:{port}")["filled"]
        assert (filled["ready"], filled["leased"]) == (11, 1)
        assert filled["by_priority"] == {"0": 2, "3": 4, "9": 5}
    celery.close()


def test_on_rabbitmq_without_its_management_the_total_is_true(managed: tuple[RabbitServer, int]) -> None:
    server, _ = managed
    url = server.empty()
    fill(url, "rpc://", {})
    filled = listed(f"{url}?management=", GREENQ_WORKER_QUEUES="filled")["filled"]
    assert filled["ready"] == 12
