"""Celery and greenq on brokers that only kombu knows, with results where only Celery's backends were."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.backends import memory_directory
from tests.greenq.interop.sides import PATIENCE, Sides, both

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

    @pytest.mark.parametrize("compression", ["zlib", "bzip2"])
    @pytest.mark.parametrize("serializer", ["json", "msgpack", "pickle"])
    def test_serializers_and_compressions(
        self, sides: Sides, producer: str, worker: str, serializer: str, compression: str
    ) -> None:
        result = sides.send(
            producer, worker, "mirror", "ü" * 3000, serializer=serializer, compression=compression
        )
        assert result.get(timeout=PATIENCE) == [["ü" * 3000], {}]
