"""Whatever is in the queue ends once: run, or dead-lettered with its reason; the worker goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from greenq.message import Depth, Message
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

BODY = b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
GOOD: dict[str, Any] = {"task": "shop.add", "id": "1", "retries": 0}

HOSTILE: dict[str, Message] = {
    name: Message("celery", headers, body, kind, encoding)
    for name, (headers, body, kind, encoding) in {
        "no headers": ({}, BODY, "application/json", "utf-8"),
        "a list as task": ({"task": ["shop.add"], "id": "1"}, BODY, "application/json", "utf-8"),
        "a number as task": ({"task": 7, "id": "1"}, BODY, "application/json", "utf-8"),
        "no id": ({"task": "shop.add"}, BODY, "application/json", "utf-8"),
        "an object as id": ({"task": "shop.add", "id": {}}, BODY, "application/json", "utf-8"),
        "words as limits": ({**GOOD, "timelimit": ["soon", "now"]}, BODY, "application/json", "utf-8"),
        "one limit": ({**GOOD, "timelimit": [1]}, BODY, "application/json", "utf-8"),
        "an endless limit": ({**GOOD, "timelimit": [float("inf"), None]}, BODY, "application/json", "utf-8"),
        "a negative limit": ({**GOOD, "timelimit": [-1, None]}, BODY, "application/json", "utf-8"),
        "a word as eta": ({**GOOD, "eta": "tomorrow"}, BODY, "application/json", "utf-8"),
        "a number as expires": ({**GOOD, "expires": 12}, BODY, "application/json", "utf-8"),
        "a word as retries": ({**GOOD, "retries": "many"}, BODY, "application/json", "utf-8"),
        "no JSON": (GOOD, b"{not json", "application/json", "utf-8"),
        "an empty body": (GOOD, b"", "application/json", "utf-8"),
        "too deep": (GOOD, b"[" * 100_000, "application/json", "utf-8"),
        "a list of two": (GOOD, b"[[], {}]", "application/json", "utf-8"),
        "arguments that are no list": (GOOD, b'["ab", {}, {}]', "application/json", "utf-8"),
        "keywords that are no mapping": (GOOD, b"[[], [], {}]", "application/json", "utf-8"),
        "pickle": (GOOD, b"\x80\x04N.", "application/x-python-serialize", "binary"),
        "an unknown type": (GOOD, BODY, "application/x-nothing", "utf-8"),
        "no type": (GOOD, BODY, "", ""),
        "an unknown compression": (
            {**GOOD, "compression": "application/x-nothing"}, BODY, "application/json", "utf-8",
        ),
        "a broken compression": (
            {**GOOD, "compression": "application/x-gzip"}, BODY, "application/json", "utf-8",
        ),
        "a list as compression": ({**GOOD, "compression": [1]}, BODY, "application/json", "utf-8"),
        "an unknown task": ({**GOOD, "task": "shop.nothing"}, BODY, "application/json", "utf-8"),
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("pool", [("gevent", "10"), ("prefork", "2")])
def test_hostile_messages_are_dead_lettered_and_the_rest_runs(shop: Shop, pool: tuple[str, str]) -> None:
    errors = shop.app.broker.publish(list(HOSTILE.values()), PATIENCE)
    assert errors == [None] * len(HOSTILE)
    worker = shop.worker("-P", pool[0], "-c", pool[1])
    assert shop.send("add", 2, 3).get(timeout=PATIENCE) == 5
    until(lambda: shop.depth() == Depth(dead=len(HOSTILE)), what=f"all dead-lettered, not {shop.depth()}")
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
