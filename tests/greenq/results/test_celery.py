"""Celery's AsyncResult reads what greenq stored, and the other way round."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from celery import Celery

from greenq import GreenQ
from greenq.message import Result
from tests.backends import memcached, memory_directory, moto, postgres

PATIENCE = 30.0
VALUE = {"when": datetime(2030, 1, 2, 3, 4, tzinfo=UTC), "list": [1, 2.5, None, "ü"], "bytes": b"\0\xff"}
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="module", params=["sqlite", "postgres", "memcached", "directory", "s3"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[GreenQ, Celery]]:
    directory = memory_directory()
    settings: dict[str, Any] = {}
    if request.param == "sqlite":
        url = f"db+sqlite:///{directory}/results.db"
    elif request.param == "postgres":
        url = f"db+{postgres().empty()}"
    elif request.param == "memcached":
        url = f"cache+memcached://127.0.0.1:{memcached().port}/"
    elif request.param == "directory":
        url = f"file://{directory}"
    else:
        boto3.client("s3", endpoint_url=moto().url, region_name="us-east-1", **CREDENTIALS).create_bucket(
            Bucket="celery-results"
        )
        url = f"s3://celery-results/shop/?endpoint_url={moto().url}&key=test&secret=test"
        settings = {
            "s3_bucket": "celery-results", "s3_base_path": "shop/", "s3_endpoint_url": moto().url,
            "s3_access_key_id": "test", "s3_secret_access_key": "test", "s3_region": "us-east-1",
        }  # fmt: skip
    celery = Celery("shop", broker="memory://", backend=url.partition("?")[0], set_as_current=False)
    celery.conf.update(result_extended=True, **settings)
    greenq = GreenQ("shop", broker="memory://interop", results=url)
    yield greenq, celery
    greenq.close()
    shutil.rmtree(directory)


def store(app: GreenQ, id: str, state: str, value: Any, **fields: Any) -> None:
    assert app.results is not None
    result = Result(id, state, value, date_done="2026-01-02T03:04:05+00:00", expires=3600, **fields)
    app.results.encode(result)
    app.results.put([result], PATIENCE)


class TestCeleryReads:
    def test_a_value(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        store(greenq, id, "SUCCESS", VALUE, extra={"name": "shop.add", "args": [1, 2], "worker": "w@h"})
        result = celery.AsyncResult(id)
        assert result.get(timeout=PATIENCE) == VALUE
        assert (result.state, result.name, result.args, result.worker) == (
            "SUCCESS",
            "shop.add",
            [1, 2],
            "w@h",
        )
        assert result.date_done is not None

    def test_an_exception(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        failure = {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}
        store(greenq, id, "FAILURE", failure, traceback="Traceback: here")
        result = celery.AsyncResult(id)
        with pytest.raises(ValueError, match="no"):
            result.get(timeout=PATIENCE)
        assert result.traceback == "Traceback: here"

    def test_children(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id, child = str(uuid.uuid4()), str(uuid.uuid4())
        store(greenq, id, "SUCCESS", 1, children=[[[child, None], None]])
        assert [one.id for one in celery.AsyncResult(id).children] == [child]

    def test_nothing_of_what_was_forgotten(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        store(greenq, id, "SUCCESS", 1)
        greenq.AsyncResult(id).forget()
        assert celery.AsyncResult(id).state == "PENDING"

    def test_and_does_not_overwrite_a_success(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        store(greenq, id, "SUCCESS", "first")
        celery.backend.store_result(id, "second", "SUCCESS")
        assert greenq.AsyncResult(id).get(timeout=PATIENCE) == "first"


class TestGreenqReads:
    def test_a_value(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        celery.backend.store_result(id, VALUE, "SUCCESS")
        assert greenq.AsyncResult(id).get(timeout=PATIENCE) == VALUE

    def test_an_exception(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        celery.backend.store_result(id, ValueError("no"), "FAILURE", traceback="Traceback: there")
        result = greenq.AsyncResult(id)
        with pytest.raises(ValueError, match="no"):
            result.get(timeout=PATIENCE)
        assert result.traceback == "Traceback: there"

    def test_a_state_of_the_tasks_own_and_replaces_it(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        celery.backend.store_result(id, {"done": 0.5}, "PROGRESS")
        assert greenq.AsyncResult(id).state == "PROGRESS"
        store(greenq, id, "SUCCESS", "end")
        assert celery.AsyncResult(id).get(timeout=PATIENCE) == "end"

    def test_nothing_of_what_was_forgotten(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        celery.backend.store_result(id, 1, "SUCCESS")
        celery.backend.forget(id)
        assert greenq.AsyncResult(id).state == "PENDING"

    def test_and_does_not_overwrite_an_end(self, pair: tuple[GreenQ, Celery]) -> None:
        greenq, celery = pair
        id = str(uuid.uuid4())
        celery.backend.store_result(id, "first", "SUCCESS")
        store(greenq, id, "SUCCESS", "second")
        assert celery.AsyncResult(id).get(timeout=PATIENCE) == "first"
