"""One of several processes that work on a file until they are killed; see `test_chaos`."""

from __future__ import annotations

import os
import random
import sys
import time

from greenq.brokers import connect
from greenq.message import Outcome, Settlement, Verdict
from greenq.results import connect as connect_results
from greenq.testing.messages import PATIENCE, ids, make
from greenq.testing.payloads import decode, encode, encoded
from pools import native


def work(url: str, name: str, ledger: str) -> None:
    """Publish, fetch and settle at random for ever, and write down what was confirmed."""
    broker = connect(url)
    store = connect_results(url, encode, decode)
    broker.lease(name, 1.0)

    def duties() -> None:
        while True:
            time.sleep(0.3)
            broker.renew()
            broker.reap()

    native.start(duties, "duties")
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    dice = random.Random(name)
    number = 0
    while True:
        messages = [
            make(
                f"{name}-{number + i}",
                due=dice.choice((None, time.time() + 0.1)),
                priority=dice.randint(0, 9),
            )
            for i in range(dice.choice((1, 1, 3, 20)))
        ]
        number += len(messages)
        assert broker.publish(messages, PATIENCE) == [None] * len(messages)
        os.write(file, "".join(f"{message.headers['id']}\n" for message in messages).encode())
        deliveries = broker.fetch(["q"], dice.choice((1, 5, 25)), 0.05)
        if dice.random() < 0.2:
            verdicts = [Settlement(one, Verdict.REQUEUE) for one in deliveries]
            broker.settle(verdicts, PATIENCE)
            continue
        outcomes = []
        for delivery in deliveries:
            [id] = ids([delivery])
            child, settlement = make(id, "children"), Settlement(delivery, Verdict.ACK)
            outcomes.append(Outcome(delivery, (child,), encoded(store, id), settlement))
        store.commit(broker, outcomes, PATIENCE)


if __name__ == "__main__":
    work(*sys.argv[1:])
