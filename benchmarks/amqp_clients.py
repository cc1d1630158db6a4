"""What one message costs over RabbitMQ with greenq's client and with py-amqp, which kombu and Celery use.

``python -m benchmarks.amqp_clients amqp://guest:guest@localhost//`` sends messages as Celery makes them,
confirmed by the broker but not one by one, takes them all, and acknowledges them. Both do the same work, in
turns; processor time is that of the whole process, its threads included.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import amqp  # type: ignore[import-untyped]

from greenq.amqp.address import parse
from greenq.brokers.amqp import AmqpBroker
from greenq.message import Message, Settlement, Verdict

__all__ = ["main"]

COUNT = 20_000
BATCH = 500
ROUNDS = 3
HEADERS: dict[str, Any] = {
    "lang": "py", "task": "shop.add", "shadow": None, "eta": None, "expires": None, "group": None,
    "group_index": None, "retries": 0, "timelimit": [None, None], "parent_id": None, "argsrepr": "(1, 2)",
    "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": False, "replaced_task_nesting": 0,
    "stamped_headers": None, "stamps": {},
}  # fmt: skip
BODY = json.dumps([[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
IDS = [str(uuid.uuid4()) for _ in range(COUNT)]
Costs = tuple[float, float]
"""Microseconds of processor time for each message: sending, taking."""


def cost(work: Callable[[], None]) -> float:
    """Microseconds of processor time that one message costs."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / COUNT * 1e6


def greenq_costs(url: str) -> Costs:
    """Send and take with greenq's client."""
    with AmqpBroker(url) as broker:
        broker.lease("benchmark", 60.0)
        broker.declare(["greenq-clients"])
        broker.purge("greenq-clients")

        def send() -> None:
            for start in range(0, COUNT, BATCH):
                messages = [
                    Message(
                        "greenq-clients", HEADERS | {"id": id, "root_id": id}, BODY,
                        "application/json", "utf-8", {"correlation_id": id},
                    )
                    for id in IDS[start : start + BATCH]
                ]  # fmt: skip
                assert broker.publish(messages, 30.0) == [None] * BATCH

        def take() -> None:
            left = COUNT
            while left:
                found = broker.fetch(["greenq-clients"], BATCH, 30.0)
                assert all(broker.settle([Settlement(one, Verdict.ACK) for one in found], 30.0))
                left -= len(found)

        return cost(send), cost(take)


def py_amqp_costs(url: str) -> Costs:
    """Send and take with py-amqp, as fast as its interface lets one."""
    address = parse(url)
    [(host, port), *_] = address.nodes
    connection = amqp.Connection(f"{host}:{port}", address.user, address.password, virtual_host=address.vhost)
    connection.connect()
    channel = connection.channel()
    channel.queue_declare("py-amqp-clients", durable=True, auto_delete=False)
    channel.queue_purge("py-amqp-clients")
    channel.confirm_select()
    confirmed = 0

    def on_ack(tag: int, multiple: bool) -> None:
        nonlocal confirmed
        confirmed = max(confirmed, tag) if multiple else confirmed + 1

    channel.events["basic_ack"].add(on_ack)

    def send() -> None:
        for start in range(0, COUNT, BATCH):
            for id in IDS[start : start + BATCH]:
                message = amqp.Message(
                    BODY, application_headers=HEADERS | {"id": id, "root_id": id}, delivery_mode=2,
                    content_type="application/json", content_encoding="utf-8", correlation_id=id,
                )  # fmt: skip
                channel.basic_publish(message, "", "py-amqp-clients", mandatory=True)
            while confirmed < start + BATCH:
                connection.drain_events(timeout=30)

    taken = 0

    def on_message(message: Any) -> None:
        nonlocal taken
        taken += 1
        if taken % BATCH == 0:
            channel.basic_ack(message.delivery_tag, multiple=True)

    def take() -> None:
        channel.basic_qos(0, 2 * BATCH, False)
        channel.basic_consume("py-amqp-clients", callback=on_message)
        while taken < COUNT:
            connection.drain_events(timeout=30)

    costs = cost(send), cost(take)
    connection.close()
    return costs


def main(url: str) -> None:
    """Measure in turns, and print the medians."""
    rounds: dict[str, list[Costs]] = {"greenq": [], "py-amqp": []}
    for _ in range(ROUNDS):
        rounds["greenq"].append(greenq_costs(url))
        rounds["py-amqp"].append(py_amqp_costs(url))
    for name, costs in rounds.items():
        sending, taking = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"{name:<8} {sending:6.1f} µs to send, {taking:6.1f} µs to take and acknowledge")


if __name__ == "__main__":
    main(sys.argv[1])
