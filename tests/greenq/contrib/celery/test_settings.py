"""Celery's settings become greenq's, and of each that does not it is said why."""

from __future__ import annotations

import re
import ssl
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery  # type: ignore[import-untyped]
from celery.app.defaults import DEFAULTS  # type: ignore[import-untyped]
from kombu import Exchange, Queue  # type: ignore[import-untyped]
from kombu.common import Broadcast  # type: ignore[import-untyped]

from greenq.config.celery_names import CELERY_NAMES
from greenq.contrib.celery.addresses import broker_of, results_of
from greenq.contrib.celery.adopting import adopt
from greenq.contrib.celery.meanings import MEANINGS
from greenq.contrib.celery.settings import routes_of, settings_of


def made(broker: str | None = None, backend: Any = None, **conf: Any) -> Celery:
    app = Celery("made", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf)
    return app


def test_every_setting_of_celerys_has_its_meaning() -> None:
    assert set(MEANINGS) == set(DEFAULTS)
    assert all(meaning.text for meaning in MEANINGS.values())


def test_the_names_that_a_greenq_yaml_explains_are_celerys() -> None:
    assert {name for name in CELERY_NAMES if name not in DEFAULTS} <= {"visibility_timeout"}


@pytest.mark.parametrize(
    ("app", "url"),
    [
        (made(), "amqp://guest:guest@localhost:5672//"),
        (made("pyamqp://a:b@h:1/v"), "amqp://a:b@h:1/v"),
        (made("amqp://a:b@h1//;amqp://c:d@h2//"), "amqp://a:b@h1//;amqp://c:d@h2//"),
        (made(broker_url=["amqp://h1//", "amqp://h2//"]), "amqp://h1//;amqp://h2//"),
        (made("redis://h/1"), "redis://h/1?queue_order=round_robin"),
        (
            made("redis://h/1", broker_transport_options={"queue_order_strategy": "priority", "sep": ":"}),
            "redis://h/1?sep=%3A&queue_order=strict",
        ),
        (
            made("redis://h/1?sep=x", broker_transport_options={"sep": ":", "priority_steps": [0, 5]}),
            "redis://h/1?sep=x&priority_steps=0%2C5&queue_order=round_robin",
        ),
        (
            made(
                "sentinel://a:1;sentinel://b:2",
                broker_transport_options={"master_name": "m", "visibility_timeout": 60},
            ),
            "sentinel://a:1;sentinel://b:2?visibility_timeout=60&master_name=m&queue_order=round_robin",
        ),
        (
            made("redis://h/1", broker_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": "/ca"}),
            "rediss://h/1?ssl_cert_reqs=none&ssl_ca_certs=%2Fca&queue_order=round_robin",
        ),
        (made("amqp://h//", broker_use_ssl=True), "amqps://h//?ssl_cert_reqs=none"),
        (made("amqp://w//", broker_read_url="amqp://r//"), "amqp://r//"),
        (made("sqs://", broker_transport_options={"region": "eu-west-1"}), "sqs://?region=eu-west-1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_the_broker_is(app: Celery, url: str) -> None:
    assert broker_of(app) == url


@pytest.mark.parametrize(
    ("app", "url"),
    [
        (made(), None),
        (made(backend="disabled://"), None),
        (made(backend="redis://h/2"), "redis://h/2"),
        (
            made(backend="redis://h/2", result_backend_transport_options={"global_keyprefix": "x."}),
            "redis://h/2?global_keyprefix=x.",
        ),
        (made(backend="redis", redis_host="h", redis_password="p@", redis_db=3), "redis://:p%40@h:6379/3"),
        (made(backend="redis://h", redis_backend_use_ssl={"ssl_cert_reqs": "none"}),
         "rediss://h?ssl_cert_reqs=none"),
        (made("amqp://a:b@h//", backend="rpc://"), "rpc://a:b@h//"),
        (made("redis://h", backend="rpc://"), "celery-backend://"),
        (made(backend="db+sqlite:///x.db"), "db+sqlite:///x.db"),
        (made(backend="cache+memcached://h:1/"), "cache+memcached://h:1/"),
        (made(backend="cache", cache_backend="memcached://h:1/"), "cache+memcached://h:1/"),
        (made(backend="cache+memory://"), "celery-backend://"),
        (made(backend="mongodb://h"), "celery-backend://"),
        (made(backend="django-db"), "celery-backend://"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_where_results_are(app: Celery, url: str | None) -> None:
    assert results_of(app) == url


def test_queues_are_declared_as_celery_declares_them() -> None:
    app = made(
        "redis://h",
        task_queues=[
            Queue("plain"),
            Queue("topics", Exchange("media", "topic"), routing_key="m.#", durable=False),
            Broadcast("all"),
            Queue("old", queue_arguments={"x-max-priority": 10}),
        ],
    )
    found = settings_of(app)
    assert found["worker"]["queues"][:2] == ["plain", "topics"]
    assert "plain" not in found["queues"]
    assert found["queues"]["topics"] == {
        "exchange": "media", "exchange_type": "topic", "routing_key": "m.#", "durable": False,
    }  # fmt: skip
    assert found["queues"]["old"] == {"arguments": {"x-max-priority": 10}}
    assert any(about.get("broadcast") for about in found["queues"].values())


def test_limits_times_and_serializers() -> None:
    app = made(
        "redis://h", "redis://h", task_time_limit=30, task_soft_time_limit=0,
        result_expires=timedelta(hours=1), accept_content=["application/json", "pickle", "auth"],
        task_serializer="yaml", worker_concurrency=7, worker_max_memory_per_child=100_000,
        task_acks_late=True, task_default_priority=4,
    )  # fmt: skip
    settings = adopt(app, "made").settings
    assert (settings.tasks.time_limit, settings.tasks.soft_time_limit) == (30, None)
    assert settings.results.expires == 3600
    assert settings.accept == ("json", "pickle", "yaml")
    assert settings.tasks.serializer == "yaml"
    assert (settings.worker.concurrency, settings.worker.max_memory) == (7, 102_400_000)
    assert (settings.tasks.acks_late, settings.tasks.priority) == (True, 4)


def test_what_celery_takes_and_never_comes_to_is_no_mistake() -> None:
    app = made("redis://h", worker_max_memory_per_child=1, task_time_limit=1, task_soft_time_limit=2)
    settings = adopt(app, "made").settings
    assert settings.worker.max_memory == 1024 * 1024
    assert (settings.tasks.time_limit, settings.tasks.soft_time_limit) == (1, None)


def test_results_without_an_end_are_kept_for_ever() -> None:
    assert adopt(made("redis://h", "redis://h", result_expires=0), "made").settings.results.expires is None


def test_files_and_variables_go_before_the_applications_settings(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greenq.yaml").write_text("worker: {concurrency: 5, lease: 4s}\n")
    monkeypatch.setenv("GREENQ_TASKS_TIME_LIMIT", "9s")
    app = adopt(made("redis://h", worker_concurrency=3, task_time_limit=2, task_soft_time_limit=1), "made")
    assert app.settings.worker.concurrency == 5
    assert app.settings.tasks.time_limit == 9
    assert app.config.origin("tasks.soft_time_limit") == "the Celery application made"


def test_routes_as_a_file_has_them() -> None:
    assert routes_of({"a.*": "one", "b": {"queue": "two", "priority": 3, "delivery_mode": 1}}) == [
        {"match": "a.*", "queue": "one"}, {"match": "b", "queue": "two", "priority": 3},
    ]  # fmt: skip
    assert routes_of(([("a.*", {"queue": "one"}), (re.compile("b.+"), "two")],)) == [
        {"match": "a.*", "queue": "one"}, {"match": "re:b.+", "queue": "two"},
    ]  # fmt: skip
    assert routes_of(lambda *args: None) == []
    assert routes_of(None) == []


def test_what_follows_a_task_goes_where_celerys_router_says() -> None:
    app = made("redis://h", task_routes=[{"a.*": {"queue": "one", "priority": 2}}, router])
    adopted = adopt(app, "made")
    composed = adopted.composer.compose("a.b", (), {}, {}, None)
    assert (composed.queue, composed.priority) == ("one", 2)
    assert adopted.composer.compose("c", ("x",), {}, {}, None).queue == "of-x"
    assert adopted.composer.compose("c", ("x",), {}, {"queue": "mine"}, None).queue == "mine"
    assert adopted.composer.compose("c", (), {}, {}, None).queue == "celery"


def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
    return {"queue": f"of-{args[0]}"} if name == "c" and args else None
