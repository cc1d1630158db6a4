"""An application's life: configured, opened when needed, closed, forked; and a call on its whole way."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from greenq.app import GreenQ
from greenq.errors import AppError, ConfigError
from greenq.message import Result
from greenq.protocol import read
from tests.greenq.recording import recorded_app


def test_configuration_comes_from_arguments_mapping_and_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("broker: {url: 'memory://file'}\ntasks: {queue: file, max_retries: 8}\n")
    from_file = GreenQ("shop", file)
    assert (from_file.settings.broker.url, from_file.settings.tasks.queue) == ("memory://file", "file")
    both = GreenQ("shop", str(file), tasks={"queue": "code"})
    assert (both.settings.tasks.queue, both.settings.tasks.max_retries) == ("code", 8)
    mapped = GreenQ("shop", {"broker": "memory://map", "accept": ["json"]}, broker="memory://argument")
    assert (mapped.settings.broker.url, mapped.settings.accept) == ("memory://argument", ("json",))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"brokr": "memory://a"}, "brokr"),
        ({"tasks": {"serializer": "jsn"}}, "jsn"),
        ({"tasks": {"max_retries": "many"}}, "max_retries"),
        ({"results": {"serializer": "pickle"}}, "pickle"),
        ({"worker": {"lease": "5 parsecs"}}, "lease"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_at_once(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        GreenQ("shop", **settings)


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = GreenQ("shop")
    app.task(name="a")(lambda: None)
    assert list(tmp_path.iterdir()) == []
    app.close()
    app.tasks["a"].delay()
    assert (tmp_path / "greenq.db").exists()
    app.close()
    app.close()
    assert app.broker.depth()["celery"].ready == 1
    app.close()


def test_many_threads_open_one_broker() -> None:
    app = GreenQ("shop", broker="memory://threads", results="memory://threads")
    seen: set[int] = set()
    begin = threading.Barrier(8)

    def use() -> None:
        begin.wait(10)
        seen.add(id(app.broker))
        seen.add(id(app.results))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 2
    app.close()


def test_a_closed_application_lets_go_of_its_broker() -> None:
    app, broker, _ = recorded_app()
    app.close()
    assert broker.closed == 1
    app.close()
    assert broker.closed == 1


def test_a_forked_child_opens_its_own_connections() -> None:
    app, broker, _ = recorded_app()
    app.send_task("a")
    origin = app.composer.origin
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        fresh = app._broker is None and app.composer.origin == f"gen{os.getpid()}@{origin.split('@')[1]}"
        os.write(writing, b"fresh" if fresh else b"same")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 10) == b"fresh"
    os.close(reading)
    assert app._broker is broker
    assert origin == f"gen{os.getpid()}@{origin.split('@')[1]}"


def test_a_call_goes_all_the_way_through_memory() -> None:
    app = GreenQ("shop", broker="memory://way", results="memory://way")

    @app.task(priority=3)
    def add(x: int, y: int) -> int:
        return x + y

    sent = add.delay(1, y=2)
    assert sent.state == "PENDING"
    app.broker.lease("worker", 30)
    (delivery,) = app.broker.fetch(["celery"], 10, 5)
    assert delivery.message is not None
    call = read(delivery.message, app.codecs)
    assert (call.args, call.kwargs, call.headers["id"]) == ([1], {"y": 2}, sent.id)
    assert delivery.message.priority == 3
    store = app.results
    assert store is not None
    result = Result(sent.id, "SUCCESS", add.run(*call.args, **call.kwargs))
    store.encode(result)
    store.put([result], 5)
    assert sent.get(timeout=5) == 3
    sent.forget()
    assert app.AsyncResult(sent.id).state == "PENDING"
    app.close()


def test_settings_are_final_once_something_was_sent() -> None:
    app = GreenQ("shop", broker="memory://final", results="memory://final")
    app.send_task("a")
    with pytest.raises(AppError, match="Send no task at import time"):
        app.override({"worker.concurrency": ("5", "-c")})
    app.close()
    app.override({"worker.concurrency": ("5", "-c")})
    assert app.settings.worker.concurrency == 5
    assert app.config.origin("worker.concurrency") == "-c"


def test_it_shows_what_it_is() -> None:
    app, _, _ = recorded_app()
    app.task(name="a")(lambda: None)
    assert repr(app) == "<GreenQ shop: 1 tasks>"
