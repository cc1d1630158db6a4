"""Where calls go: routes in YAML and in Celery's forms, compared with Celery's own router."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from greenq import GreenQ, InvalidOption
from greenq.errors import AppError, ConfigError
from greenq.message import Message
from greenq.protocol import EMBED, TaskCall, template
from greenq.request import Request


def app_of(**settings: Any) -> GreenQ:
    return GreenQ("shop", broker="memory://routing", results=None, **settings)


def queue_of(app: GreenQ, task: str, *args: Any, **options: Any) -> str:
    return app.composer.compose(task, args, {}, options).queue


def by_length(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    if len(args) > 2:
        return "long"
    return {"queue": "two", "priority": 7} if len(args) == 2 else None


class OldRouter:
    """As Celery 3 had them."""

    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return "old" if task.startswith("old.") else None


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    module = types.ModuleType("routes_of_a_test")
    module.choose = by_length  # type: ignore[attr-defined]
    module.Old = OldRouter  # type: ignore[attr-defined]
    module.text = "text"  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


FORMS: dict[str, Any] = {
    "a mapping": {"mail.*": {"queue": "mail"}, "mail.send": "exact", "media.?": "none"},
    "a mapping in a tuple": ({"mail.*": "mail"},),
    "pairs": ([("mail.*", {"queue": "mail"}), (re.compile(r"(video|audio)\."), {"queue": "media"})],),
    "pairs in a list": ([("mail.*", "mail"), ("mail.send", "exact")],),
    "a function": (by_length, {"*": "rest"}),
    "a function after a mapping": ({"mail.*": "mail"}, by_length),
    "an old router": (OldRouter(), {"mail.*": "mail"}),
    "dotted names": ("routes_of_a_test.choose", "routes_of_a_test.Old", {"*": {"queue": "rest"}}),
}
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("mail.send", (), {}), ("mail.read", (1,), {}), ("video.cut", (1, 2), {}), ("old.task", (1, 2, 3), {}),
    ("other", (), {}), ("mail.send", (), {"queue": "own"}), ("mail.send", (1, 2), {"priority": 2}),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_routes_of_celery_lead_where_they_lead_with_celery(form: str, module: types.ModuleType) -> None:
    routes = FORMS[form]
    theirs = Celery("shop", set_as_current=False)
    theirs.conf.task_routes = routes
    ours = app_of(routes=routes)
    for name, args, options in CALLS:
        route = theirs.amqp.router.route(dict(options), name, args, {})
        message = ours.composer.compose(name, args, {}, options)
        assert message.queue == route["queue"].name, name
        assert message.priority == (route.get("priority") or 0), name


def test_yaml_knows_patterns_expressions_and_functions(tmp_path: Path, module: types.ModuleType) -> None:
    file = tmp_path / "greenq.yaml"
    file.write_text(
        "routes:\n"
        "  - {match: shop.mail, queue: mail}\n"
        "  - {match: 're:^shop\\.(audio|video)$', queue: media, serializer: msgpack, priority: 4}\n"
        "  - {function: 'routes_of_a_test:choose'}\n"
        "  - {match: '*', queue: rest}\n"
    )
    app = GreenQ(config=file, broker="memory://routing", results=None)
    assert queue_of(app, "shop.mail", 1, 2) == "mail"
    media = app.composer.compose("shop.video", (), {})
    assert (media.queue, media.priority, media.content_type) == ("media", 4, "application/x-msgpack")
    assert [queue_of(app, "x", *range(n)) for n in range(4)] == ["rest", "rest", "two", "long"]
    assert queue_of(app, "x", 1, 2, queue="own") == "own"


def test_a_function_gets_the_task_and_is_asked_only_where_it_decides() -> None:
    asked: list[Any] = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> Any:
        asked.append((name, args, dict(kwargs), options, task))
        return None

    app = app_of(routes=({"fixed": "fixed"}, route))

    @app.task(name="known")
    def known() -> None: ...

    @app.task(name="own", queue="own")
    def own() -> None: ...

    known.delay()
    own.delay()
    app.send_task("unknown", [1], {"a": 2}, priority=3)
    app.send_task("fixed")
    app.send_task("unknown", queue="q")
    assert asked == [("known", (), {}, {}, known), ("unknown", (1,), {"a": 2}, {"priority": 3}, None)]


def test_a_routes_other_options_are_those_of_the_call() -> None:
    app = app_of(routes={"a": {"queue": "q", "countdown": 60, "time_limit": 5}})
    message = app.composer.compose("a", (), {})
    assert message.due is not None
    assert message.headers["timelimit"][0] == 5
    assert app.composer.compose("a", (), {}, {"time_limit": 7}).headers["timelimit"][0] == 7


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        ({"a": {"queu": "b"}}, "did you mean 'queue'"),
        ({"a": 5}, "no pair"),
        ({"a": {"queue": 5}}, "queue"),
        (5, "is no route"),
        ([{"match": "re:(", "queue": "a"}, by_length], "cannot be read"),
        (lambda *args, **kwargs: 5, "options, not 5"),
        (lambda *args, **kwargs: {"eta": 5}, "datetime"),
    ],
)
def test_a_wrong_route_is_named(routes: Any, problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem):
        queue_of(app_of(routes=routes), "x")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("routes_of_a_test:chose", "did you mean choose"),
        ("routes_of_a_test:text", "is no function"),
        ("nowhere_at_all:choose", "nowhere_at_all cannot be imported"),
    ],
)
def test_a_function_that_is_not_there_is_named(name: str, problem: str, module: types.ModuleType) -> None:
    app = app_of(routes=[{"function": name}])
    with pytest.raises(AppError, match=problem):
        app.send_task("x")


def test_where_all_queues_must_be_listed_an_unlisted_one_is_an_error() -> None:
    app = app_of(queues={"mail": {}}, tasks={"create_missing_queues": False}, routes={"lost": "lost"})
    assert queue_of(app, "a") == "celery"
    assert queue_of(app, "a", queue="mail") == "mail"
    for name, options in (("a", {"queue": "mial"}), ("lost", {})):
        with pytest.raises(InvalidOption, match="create_missing_queues"):
            queue_of(app, name, **options)
    with pytest.raises(InvalidOption, match="create_missing_queues"):
        app.task(queue="elsewhere")(lambda: None)
    with pytest.raises(ConfigError, match="did you mean mail"):
        app_of(queues={"mail": {}}, tasks={"create_missing_queues": False}, worker={"queues": ["mial"]})


def test_what_came_from_an_unlisted_queue_may_go_back_there() -> None:
    app = app_of(tasks={"create_missing_queues": False})
    assert app.composer.compose_again(running(app, "elsewhere", 0), None, None, {}).queue == "elsewhere"


def running(app: GreenQ, queue: str, priority: int) -> Request:
    headers = {**template("parent", "me", None), "id": "1", "root_id": "1"}
    message = Message(queue, headers, b"[]", "application/json", "utf-8", {}, priority)
    return Request(TaskCall((), {}, EMBED, headers), message)


def test_a_running_tasks_priority_is_inherited_where_nobody_says_another() -> None:
    app = app_of(tasks={"inherit_priority": True, "priority": 1})

    @app.task(name="urged", priority=2)
    def urged() -> None: ...

    request = running(app, "celery", 8)
    compose = app.composer.compose
    assert compose("a", (), {}, None, request).priority == 8
    assert compose("a", (), {}, {"countdown": 1}, request).priority == 8
    assert compose("a", (), {}, {"priority": 3}, request).priority == 3
    assert compose("urged", (), {}, None, request).priority == 2
    assert compose("a", (), {}).priority == 1
    assert app_of().composer.compose("a", (), {}, None, request).priority == 0


def test_the_routing_key_is_the_calls_the_queues_or_the_default() -> None:
    app = GreenQ(
        broker="redis://localhost:1", results=None, tasks={"routing_key": "standard"},
        queues={"video": {"exchange": "media", "exchange_type": "topic", "routing_key": "media.video"}},
        routes={"routed": {"exchange": "shop", "routing_key": "key"}},
    )  # fmt: skip

    @app.task(name="own", exchange="own")
    def own() -> None: ...

    def address(task: str, **options: Any) -> tuple[str, str]:
        message = app.composer.compose(task, (), {}, options)
        return message.exchange, message.routing_key

    assert address("a") == ("", "")
    assert address("a", routing_key="ignored") == ("", "")
    assert address("a", queue="video") == ("media", "media.video")
    assert address("a", queue="video", routing_key="other") == ("media", "other")
    assert address("a", exchange="media") == ("media", "standard")
    assert address("routed") == ("shop", "key")
    assert address("own") == ("own", "standard")


def test_the_manuals_page_loads_and_runs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        GreenQ(config=file, broker="redis://localhost:1", results=None, shared=False)
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    code += (
        "\nassert app.composer.compose('shop.mail.send', (), {}).queue == 'mail'"
        "\nassert app.composer.compose('shop.report.a', (), {'large': 1}).queue == 'large'"
        "\nassert store.apply((1, 2)).get() == 2"
        "\nassert resize('a') == 'a'"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
