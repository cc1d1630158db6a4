"""Celery and greenq on one Redis: whoever sends, whoever works, whoever asks for the result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu import compression
from kombu.serialization import registry

from greenq.brokers import connect
from greenq.codecs import table as codecs
from greenq.message import Depth
from tests.greenq.interop.celery_side import make as make_celery
from tests.greenq.interop.sides import AT_RISK, Sides, both, celery_worker, mixed_fleet
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

ROUTES = [("greenq", "celery"), ("celery", "greenq"), ("greenq", "greenq")]
SERIALIZERS = [name for name in ("json", "msgpack", "yaml", "pickle") if name in registry._encoders]
COMPRESSIONS = sorted(set(compression.encoders()) & {"application/x-gzip", "application/x-bz2",
    "application/x-lzma", "application/zstd", "application/x-brotli"})  # fmt: skip
NAMES = {
    "application/x-gzip": "zlib", "application/x-bz2": "bzip2", "application/x-lzma": "lzma",
    "application/zstd": "zstd", "application/x-brotli": "brotli",
}  # fmt: skip


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    url = shared_redis().empty()
    with both(url, url) as running:
        yield running


@pytest.mark.parametrize(("producer", "worker"), ROUTES)
class TestEachWay:
    def test_a_plain_call_and_its_result(self, sides: Sides, producer: str, worker: str) -> None:
        assert sides.send(producer, worker, "add", 2, 3).get(timeout=PATIENCE) == 5

    def test_arguments_of_all_kinds(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "mirror", 1, "ü", None, kwargs={"k": [True, {"a": 1.5}]})
        assert result.get(timeout=PATIENCE) == [[1, "ü", None], {"k": [True, {"a": 1.5}]}]

    def test_extended_json_types(self, sides: Sides, producer: str, worker: str) -> None:
        when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        result = sides.send(producer, worker, "mirror", when, b"\0\xff")
        assert result.get(timeout=PATIENCE) == [[when, b"\0\xff"], {}]

    def test_an_exception_and_its_traceback(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "fail", "no such thing")
        with pytest.raises(ValueError, match="no such thing"):
            result.get(timeout=PATIENCE)
        assert result.state == "FAILURE"
        assert "raise ValueError(text)" in result.traceback

    def test_retries(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "persist", 2)
        assert result.get(timeout=PATIENCE) == [2, result.id]

    def test_a_countdown_is_kept(self, sides: Sides, producer: str, worker: str) -> None:
        before = time.time()
        ran = sides.send(producer, worker, "moment", countdown=1.5).get(timeout=PATIENCE)
        assert before + 1.5 <= ran < before + PATIENCE

    def test_an_eta_is_kept(self, sides: Sides, producer: str, worker: str) -> None:
        eta = datetime.now(UTC) + timedelta(seconds=1)
        ran = sides.send(producer, worker, "moment", eta=eta).get(timeout=PATIENCE)
        assert ran >= eta.timestamp()

    def test_what_is_too_late_is_revoked(self, sides: Sides, producer: str, worker: str) -> None:
        result = sides.send(producer, worker, "add", 1, 1, expires=datetime.now(UTC) - timedelta(seconds=60))
        until(lambda: result.state == "REVOKED", "the revocation")

    @pytest.mark.parametrize("priority", [0, 4, 9])
    def test_every_priority_is_served(self, sides: Sides, producer: str, worker: str, priority: int) -> None:
        assert sides.send(producer, worker, "add", 1, priority, priority=priority).get(timeout=PATIENCE) == (
            1 + priority
        )

    def test_a_body_of_ten_mebibytes(self, sides: Sides, producer: str, worker: str) -> None:
        length = 10 * 1024 * 1024
        assert sides.send(producer, worker, "size", "x" * length).get(timeout=PATIENCE) == length

    @pytest.mark.parametrize("compressed", [None, *COMPRESSIONS])
    @pytest.mark.parametrize("serializer", SERIALIZERS)
    def test_each_serializer_with_each_compression(
        self, sides: Sides, producer: str, worker: str, serializer: str, compressed: str | None
    ) -> None:
        options: dict[str, Any] = {"serializer": serializer}
        if compressed is not None:
            options["compression"] = NAMES[compressed]
        text = "ü" * 5000
        result = sides.send(producer, worker, "mirror", text, **options)
        assert result.get(timeout=PATIENCE) == [[text], {}]


def test_a_result_of_either_is_read_by_both(sides: Sides) -> None:
    for worker in ("celery", "greenq"):
        id = sides.send("greenq", worker, "add", 20, 22).id
        assert sides.celery.AsyncResult(id).get(timeout=PATIENCE) == 42
        assert sides.greenq.AsyncResult(id).get(timeout=PATIENCE) == 42
        failed = sides.send("celery", worker, "fail", "both ways").id
        for app in (sides.celery, sides.greenq):
            with pytest.raises(ValueError, match="both ways"):
                app.AsyncResult(failed).get(timeout=PATIENCE)


def test_nothing_that_both_can_encode_is_left_out() -> None:
    greenqs = {builtin.content_type for builtin in codecs.COMPRESSIONS.values()}
    assert set(COMPRESSIONS) == set(NAMES) == greenqs == set(compression.encoders())
    assert set(SERIALIZERS) == set(codecs.SERIALIZERS) == set(registry._encoders)


@pytest.mark.parametrize("worker", ["celery", "greenq"])
def test_an_extended_result_of_either_tells_both_what_was_called(sides: Sides, worker: str) -> None:
    sent = sides.send("greenq", worker, "mirror", 1, kwargs={"b": 2})
    sent.get(timeout=PATIENCE)
    for app in (sides.celery, sides.greenq):
        result = app.AsyncResult(sent.id)
        assert (result.name, result.args, result.kwargs) == ("interop.mirror", [1], {"b": 2})
        assert (result.retries, result.queue) == (0, f"to-{worker}")
        assert "@" in (result.worker or "")


def test_celery_sees_nothing_unusual_in_what_greenq_sends() -> None:
    """The same keys in the same order with values of the same types, on the same lists."""
    url = shared_redis().empty()
    sides = Sides(url, url)
    raws: dict[str, Any] = {}
    for producer in ("greenq", "celery"):
        for priority in range(10):
            app: Any = getattr(sides, producer)
            app.tasks["interop.add"].apply_async(
                (1, 2), priority=priority, expires=60, task_id="same", queue="to-celery"
            )
        raws[producer] = [
            shared_redis().do("RPOP", name, 100, url=url)
            for name in ("to-celery", *(f"to-celery\x06\x16{step}" for step in (3, 6, 9)))
        ]
    sides.close()
    for ours, theirs in zip(raws["greenq"], raws["celery"], strict=True):
        assert len(ours) == len(theirs) > 0
        for one, other in zip(map(json.loads, ours), map(json.loads, theirs), strict=True):
            assert list(one) == list(other)
            assert set(other["headers"]) == set(one["headers"])
            assert {k: type(v) for k, v in one["headers"].items()} == {
                k: type(v) for k, v in other["headers"].items()
            }
            assert set(other["properties"]) - {"expiration"} == set(one["properties"])
            assert one["body"] == other["body"]
            assert one["properties"]["priority"] == other["properties"]["priority"]
            assert one["properties"]["delivery_info"] == other["properties"]["delivery_info"]


def test_depths_are_those_that_celery_fills() -> None:
    url = shared_redis().empty()
    app = make_celery(url, url)
    for priority, count in ((0, 1), (3, 2), (9, 3)):
        for _ in range(count):
            app.send_task("interop.add", (1, 2), priority=priority, queue="filled")
    with connect(url) as broker:
        depth = broker.depth()["filled"]
        assert depth == Depth(ready=6)
        assert depth.by_priority == {0: 1, 3: 2, 9: 3}
        broker.lease("reader", 30)
        priorities = [d.message.priority for d in broker.fetch(["filled"], 10, 1) if d.message]
        assert priorities == [0, 3, 3, 9, 9, 9]
    app.close()


def test_what_a_killed_celery_worker_held_is_restored() -> None:
    url = shared_redis().empty()
    sides = Sides(url, url)
    with celery_worker(url, url, queue="to-greenq") as process:
        # Far in the future: a Celery worker holds it unacknowledged until then.
        result = sides.send("celery", "greenq", "add", 4, 5, countdown=3600)
        until(lambda: shared_redis().do("HLEN", "unacked", url=url) == 1, "the worker's taking it")
        process.kill()
        process.wait()
    with connect(f"{url}?visibility_timeout=0.2") as broker:
        broker.lease("reaper", 30)
        until(lambda: broker.reap() == 1, "the return of the message")
        assert shared_redis().do("HLEN", "unacked", url=url) == 0
        assert broker.fetch(["to-greenq"], 1, 0.2) == []  # parked: it is not due for an hour
        assert broker.depth()["to-greenq"] == Depth(delayed=1)
    assert result.id
    sides.close()


def test_a_mixed_fleet_works_off_twenty_thousand_tasks(tmp_path: Path) -> None:
    url = shared_redis().empty()
    ran = mixed_fleet(url, url, tmp_path, 20_000)
    assert set(ran) == set(range(20_000))
    # What the killed process ran or had not acknowledged yet may run again, and nothing else.
    assert sum(ran.values()) - 20_000 <= AT_RISK
    assert len(list(tmp_path.iterdir())) >= 4, "some worker got nothing"
    with connect(url) as broker:
        assert broker.depth()["mixed"] == Depth()
    assert shared_redis().do("HLEN", "unacked", url=url) == 0
