"""Results that an adopted application's own backend keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, chord  # type: ignore[import-untyped]
from celery.backends.redis import RedisBackend  # type: ignore[import-untyped]

from greenq.chords import ChordPart
from greenq.contrib.celery.adopting import adopt
from greenq.contrib.celery.backend import BackendStore
from greenq.errors import ResultStoreError
from greenq.failures import describe, rebuild
from greenq.message import FAILURE, SUCCESS, Result
from tests.servers import shared_redis

PATIENCE = 60.0


class Own(RedisBackend):  # type: ignore[misc]
    """A backend that greenq does not know."""

    address = "redis://127.0.0.1:1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "url": self.address})


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    url = shared_redis().empty()
    monkeypatch.setattr(Own, "address", url)
    made = Celery("own", broker=url, backend=f"{__name__}:Own", set_as_current=False)
    made.conf.result_extended = True
    yield made
    made.close()


@pytest.fixture
def store(app: Celery) -> Iterator[BackendStore]:
    adopted = adopt(app, "own")
    found = adopted.results
    assert isinstance(found, BackendStore)
    assert adopted.results is found
    yield found
    found.close()


def ended(store: BackendStore, id: str, state: str, value: Any, **more: Any) -> None:
    result = Result(id, state, value, **more)
    store.encode(result)
    store.put([result], PATIENCE)


def test_a_value_is_found_by_both(app: Celery, store: BackendStore) -> None:
    children = [[["child", None], None]]
    extra = {"name": "a.b", "args": [1], "kwargs": {}, "retries": 2, "worker": "w", "queue": "q"}
    ended(store, "one", SUCCESS, {"a": [1]}, children=children, extra=extra)
    result = app.AsyncResult("one")
    assert result.get(timeout=PATIENCE) == {"a": [1]}
    assert [child.id for child in result.children] == ["child"]
    assert (result.name, result.retries, result.queue) == ("a.b", 2, "q")
    found = store.get(["one", "none"], PATIENCE)
    assert (found.keys(), found["one"].value) == ({"one"}, {"a": [1]})


def test_an_exception_keeps_its_type(app: Celery, store: BackendStore) -> None:
    ended(store, "one", FAILURE, describe(KeyError("k")), traceback="the traceback")
    with pytest.raises(KeyError, match="k"):
        app.AsyncResult("one").get(timeout=PATIENCE)
    found = store.wait(["one"], PATIENCE)["one"]
    assert (found.state, found.traceback) == (FAILURE, "the traceback")
    assert isinstance(rebuild(found.value), KeyError)


def test_what_is_there_stays_and_what_is_forgotten_goes(store: BackendStore) -> None:
    ended(store, "one", SUCCESS, 1)
    ended(store, "one", FAILURE, describe(ValueError()))
    assert store.get(["one"], PATIENCE)["one"].state == SUCCESS
    store.forget(["one"])
    assert store.get(["one"], PATIENCE) == {}


def test_the_backend_sends_the_body_of_a_chord_that_is_complete(app: Celery, store: BackendStore) -> None:
    header = [app.signature("member", task_id=f"m{n}") for n in range(2)]
    body = chord(header, app.signature("body"), app=app).apply_async()
    with app.connection_for_read() as connection:
        members = [connection.default_channel.basic_get("celery", no_ack=True) for _ in header]
        for place, message in enumerate(members):
            _, _, embed = message.payload
            part = ChordPart(
                message.headers["group"], message.headers["id"], place, SUCCESS, place, embed["chord"]
            )
            store.encode_part(part)
            store.count([part], PATIENCE)
        sent = connection.default_channel.basic_get("celery", no_ack=True)
    assert sent.headers["id"] == body.id
    assert sent.payload[0] == [[0, 1]]


def test_chords_of_greenqs_own_are_refused_with_the_reason(store: BackendStore) -> None:
    assert "redis://" in (store.refuses_chords or "")


def test_a_backend_that_fails_is_named(
    app: Celery, store: BackendStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no way")

    monkeypatch.setattr(app.backend, "get_task_meta", fail)
    with pytest.raises(ResultStoreError, match="no way"):
        store.get(["one"], PATIENCE)
