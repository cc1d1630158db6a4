"""Whatever is in the queue ends once: run, or dead-lettered with its reason; the worker goes on."""

from __future__ import annotations

import json

import pytest

from greenq.message import Depth
from tests.greenq.worker.conftest import Shop
from tests.greenq.worker.malformed import harmless, hopeless
from tests.waiting import PATIENCE, until

HOPELESS = hopeless("shop.add")
HARMLESS = harmless("shop.add")


@pytest.mark.parametrize("pool", [("gevent", "10"), ("prefork", "2")])
def test_hostile_messages_are_dead_lettered_and_the_rest_runs(shop: Shop, pool: tuple[str, str]) -> None:
    errors = shop.app.broker.publish([*HOPELESS.values(), *HARMLESS.values()], PATIENCE)
    assert not any(errors)
    worker = shop.worker("-P", pool[0], "-c", pool[1])
    assert shop.send("add", 2, 3).get(timeout=PATIENCE) == 5
    for id in HARMLESS:
        assert shop.app.AsyncResult(id).get(timeout=PATIENCE) == 3
    until(lambda: shop.depth() == Depth(dead=len(HOPELESS)), what=f"all dead-lettered, not {shop.depth()}")
    for letter in shop.app.broker.dead():
        assert len(letter.reason) > 10
        json.dumps(letter.reason)
    assert "restarting" not in worker.output
    assert "Traceback" not in worker.output


def test_arguments_that_do_not_fit_fail_the_task_and_nothing_else(shop: Shop) -> None:
    shop.worker("-c", "5")
    result = shop.send("add", 1, 2, 3)
    with pytest.raises(TypeError, match="positional"):
        result.get(timeout=PATIENCE)
    assert shop.depth().dead == 0
