"""Celery and greenq on brokers that only kombu knows, with results where only Celery's backends were."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import memory_directory
from tests.greenq.interop.sides import Sides, both
from tests.waiting import PATIENCE

ROUTES = [("greenq", "celery"), ("celery", "greenq"), ("greenq", "greenq")]


@pytest.fixture(scope="module", params=["filesystem", "sqla"])
def sides(request: pytest.FixtureRequest) -> Iterator[Sides]:
    directory = memory_directory()
    if request.param == "filesystem":
        broker, results = f"filesystem://{directory}", f"file://{directory}"
    else:
        broker, results = f"sqla+sqlite:///{directory}/broker.db", f"db+sqlite:///{directory}/results.db"
    with both(broker, results) as running:
        yield running
    shutil.rmtree(directory)


@pytest.mark.parametrize(("producer", "worker"), ROUTES)
class TestEachWay:
    def test_a_call_and_its_result(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "mirror", 1, "ü", None, kwargs={"k": [True, {"a": 1.5}]})
        assert result.get(timeout=PATIENCE) == [[1, "ü", None], {"k": [True, {"a": 1.5}]}]

    def test_an_exception_and_its_traceback(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "fail", "no such thing")
        with pytest.raises(ValueError, match="no such thing"):
            result.get(timeout=PATIENCE)
        assert result.state == "FAILURE"
        assert "raise ValueError(text)" in result.traceback

    def test_retries(self, sides: Sides, producer: str, worker: str) -> None:
        retries, id = sides.send(producer, worker, "persist", 2).get(timeout=PATIENCE)
        assert retries == 2
        assert isinstance(id, str)

    def test_a_countdown_is_never_cut_short(self, sides: Sides, producer: str, worker: str) -> None:
        sent = time.time()
        result = sides.send(producer, worker, "moment", countdown=1.0)
        assert sent + 1.0 <= result.get(timeout=PATIENCE)

    @pytest.mark.parametrize(
        ("serializer", "compression"), [("json", "zlib"), ("msgpack", "bzip2"), ("pickle", "zlib")]
    )
    def test_serializers_and_compressions(
        self, sides: Sides, producer: str, worker: str, serializer: str, compression: str
    ) -> None:
        result = sides.send(
            producer, worker, "mirror", "ü" * 3000, serializer=serializer, compression=compression
        )
        assert result.get(timeout=PATIENCE) == [["ü" * 3000], {}]


def test_greenqs_messages_look_as_celerys_do(tmp_path: Path) -> None:
    sides = Sides(f"filesystem://{tmp_path}", f"file://{tmp_path}")
    sides.send("celery", "celery", "add", 1, 2)
    sides.send("greenq", "celery", "add", 1, 2)
    sides.close()
    by_sender = {}
    for path in tmp_path.glob("*.to-celery.msg"):
        message = json.loads(path.read_text())
        assert base64.b64decode(message.pop("body"))[:11] == b"[[1, 2], {}"
        headers, properties = message.pop("headers"), message.pop("properties")
        for one_off in ("id", "root_id", "origin", "ignore_result"):
            headers.pop(one_off)
        for one_off in ("correlation_id", "reply_to", "delivery_tag"):
            properties.pop(one_off)
        by_sender[headers.pop("task"), path.name] = message, headers, properties
    first, second = by_sender.values()
    assert first[0] == second[0] == {"content-encoding": "utf-8", "content-type": "application/json"}
    assert first[2] == second[2]
    assert first[1] == second[1]
