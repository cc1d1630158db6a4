"""Which of several values counts, and where each came from."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from greenq.config import Configuration, Route, Settings, load
from greenq.config.keys import variables
from greenq.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def resolve(text: str | None = None, environ: Mapping[str, str] | None = None, **rest: Any) -> Configuration:
    if text is not None:
        Path("greenq.yaml").write_text(text, encoding="utf-8")
    return load(environ=environ or {}, **rest)


def complaint(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(**given)
    return str(caught.value)


def test_without_anything_every_setting_has_its_default() -> None:
    resolved = resolve()
    assert resolved.settings == Settings()
    assert resolved.path is None
    assert resolved.origin("worker.pool") == "default"
    assert {row.origin for row in resolved.describe()} == {"default"}


def test_each_source_wins_over_the_one_before() -> None:
    text = "worker: {concurrency: 1, processes: 2, prefetch: 3, max_deliveries: 4}\n"
    environ = {"GREENQ_WORKER_PREFETCH": "30", "GREENQ_WORKER_MAX_DELIVERIES": "40"}
    resolved = resolve(
        text,
        environ,
        code={"worker": {"processes": 20, "prefetch": 31, "max_deliveries": 41}},
        overrides={"worker.max_deliveries": (400, "--max-deliveries")},
    )
    worker = resolved.settings.worker
    assert (worker.concurrency, worker.processes, worker.prefetch, worker.max_deliveries) == (1, 20, 30, 400)
    assert resolved.origin("worker.concurrency") == "greenq.yaml:1"
    assert resolved.origin("worker.processes") == "code"
    assert resolved.origin("worker.prefetch") == "GREENQ_WORKER_PREFETCH"
    assert resolved.origin("worker.max_deliveries") == "--max-deliveries"
    assert resolved.origin("worker.lease") == "default"


def test_an_origin_names_the_line_of_the_value() -> None:
    resolved = resolve("# a comment\nworker:\n  pool: gevent\n  queues:\n    - a\n    - b\n")
    assert resolved.origin("worker.pool") == "greenq.yaml:3"
    assert resolved.origin("worker.queues") == "greenq.yaml:5"
    assert resolved.origin("worker.queues[1]") == "greenq.yaml:6"


def test_the_origin_of_a_section_names_all_in_it() -> None:
    resolved = resolve("worker:\n  pool: solo\n", {"GREENQ_WORKER_LEASE": "5s"})
    assert resolved.origin("worker") == "greenq.yaml:2, GREENQ_WORKER_LEASE"
    assert resolved.origin("tasks") == "default"
    with pytest.raises(KeyError):
        resolved.origin("worker.pol")


def test_the_file_is_the_one_that_is_named_most_directly() -> None:
    Path("named.yaml").write_text("app: named\n")
    Path("variable.yaml").write_text("app: variable\n")
    environ = {"GREENQ_CONFIG": "variable.yaml"}
    assert resolve("app: here\n").settings.app == "here"
    assert resolve(environ=environ).settings.app == "variable"
    assert resolve(environ=environ, path="named.yaml").settings.app == "named"
    resolved = resolve(environ=environ, path=Path("named.yaml"))
    assert (resolved.path, resolved.origin("app")) == (Path("named.yaml"), "named.yaml:1")
    assert resolve(environ=environ, discover=False).settings.app is None


def test_a_variable_that_names_no_file_is_a_mistake() -> None:
    assert complaint(environ={"GREENQ_CONFIG": "nowhere.yaml"}) == (
        "GREENQ_CONFIG: there is no file nowhere.yaml; name one that exists, or unset it"
    )


def test_a_file_with_the_other_ending_is_not_silently_passed_over() -> None:
    Path("greenq.yml").write_text("app: a\n")
    assert complaint() == "greenq.yml: a file of this name is not read; rename it to greenq.yaml"


def test_variables_are_read_by_the_type_of_their_setting() -> None:
    settings = resolve(
        environ={
            "GREENQ_APP": "shop:app",
            "GREENQ_BROKER_URL": "memory://x",
            "GREENQ_RESULTS_URL": "null",
            "GREENQ_WORKER_CONCURRENCY": "7",
            "GREENQ_WORKER_QUEUES": "a, b",
            "GREENQ_WORKER_LEASE": "250s",
            "GREENQ_WORKER_NODE": "5",
            "GREENQ_TASKS_EAGER": "1",
            "GREENQ_TASKS_ACKS_LATE": "no",
            "GREENQ_TASKS_COMPRESS_OVER": "64KiB",
            "GREENQ_TASKS_EXPIRES": "none",
            "GREENQ_LOG_LEVEL": "WARNING",
            "GREENQ_ACCEPT": "json",
        }
    ).settings
    assert (settings.app, settings.broker.url, settings.results.url) == ("shop:app", "memory://x", None)
    assert (settings.worker.concurrency, settings.worker.queues) == (7, ("a", "b"))
    assert (settings.worker.lease, settings.worker.node) == (250.0, "5")
    assert (settings.tasks.eager, settings.tasks.acks_late) == (True, False)
    assert (settings.tasks.compress_over, settings.tasks.expires) == (65536, None)
    assert (settings.log.level, settings.accept) == ("warning", ("json",))


def test_an_empty_variable_is_not_set() -> None:
    assert resolve(environ={"GREENQ_WORKER_CONCURRENCY": "", "GREENQ_CONFIG": ""}).settings == Settings()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("GREENQ_WORKER_CONCURENCY", "this variable sets nothing; did you mean GREENQ_WORKER_CONCURRENCY?"),
        ("GREENQ_CONCURRENCY", "this variable sets nothing; did you mean GREENQ_WORKER_CONCURRENCY?"),
        ("GREENQ_BROKER", "this variable sets nothing; did you mean GREENQ_BROKER_URL?"),
        (
            "GREENQ_URL",
            "this variable sets nothing; did you mean GREENQ_BROKER_URL or "
            "GREENQ_RESULTS_URL or GREENQ_THROTTLING_URL?",
        ),
        ("GREENQ_RESULT_BACKEND", "this variable sets nothing; did you mean GREENQ_RESULTS_URL?"),
        ("GREENQ_ROUTES", "no variable can set routes; set it in the YAML file"),
        ("GREENQ_TASK_ROUTES", "no variable can set routes; set it in the YAML file"),
        ("GREENQ_XYZ", "this variable sets nothing; unset it; `greenq config show` lists the settings"),
    ],
)
def test_a_variable_that_sets_nothing_is_a_mistake(name: str, line: str) -> None:
    assert complaint(environ={name: "secret"}) == f"{name}: {line}"


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake() -> None:
    environ = {
        "GREENQ_PORT": "tcp://10.0.0.1:80",
        "GREENQ_SERVICE_HOST": "10.0.0.1",
        "GREENQ_WORKER_SERVICE_PORT_HTTP": "80",
        "GREENQ_WORKER_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert resolve(environ=environ).settings == Settings()


def test_every_variable_reaches_a_setting_of_its_own() -> None:
    paths = [key.path for key in variables().values()]
    assert len(paths) == len(set(paths))
    for name in variables():
        with pytest.raises(ConfigError):
            resolve(environ={name: "\x00"})


def test_a_mistake_in_a_variable_or_an_option_names_it() -> None:
    assert complaint(environ={"GREENQ_WORKER_CONCURRENCY": "ten"}) == (
        'GREENQ_WORKER_CONCURRENCY: worker.concurrency must be a whole number, not "ten"'
    )
    assert complaint(overrides={"worker.concurrency": ("0", "--concurrency")}) == (
        '--concurrency: worker.concurrency must be at least 1, not "0"'
    )
    assert complaint(overrides={"worker.pol": ("x", "--pool")}) == (
        "--pool: worker.pol is no setting; did you mean worker.pool?"
    )


def test_options_take_text_as_typed_and_values_as_parsed_and_none_for_not_given() -> None:
    settings = resolve(
        "worker: {pool: solo}\n",
        overrides={
            "worker.concurrency": (5, "-c"),
            "worker.queues": (("a", "b"), "-Q"),
            "tasks.time_limit": ("5m", "--time-limit"),
            "worker.pool": (None, "--pool"),
        },
    ).settings
    assert (settings.worker.concurrency, settings.worker.queues) == (5, ("a", "b"))
    assert (settings.tasks.time_limit, settings.worker.pool) == (300.0, "solo")


def test_settings_of_different_sources_that_conflict_name_both() -> None:
    assert complaint(
        text="tasks:\n  soft_time_limit: 50s\n  time_limit: 60s\n",
        overrides={"tasks.time_limit": ("10", "--time-limit")},
    ) == (
        "greenq.yaml:2: tasks.soft_time_limit is 50s; make it shorter than tasks.time_limit, "
        "which is 10s (--time-limit)"
    )


def test_code_gives_python_values_and_short_addresses() -> None:
    settings = resolve(
        code={
            "broker": "memory://x",
            "results": None,
            "worker": {"lease": "2s", "queues": ("a",), "shutdown_timeout": datetime.timedelta(minutes=1)},
            "routes": [{"match": "a.*", "queue": "a"}],
            "accept": {"msgpack", "json"},
        }
    ).settings
    assert (settings.broker.url, settings.results.url) == ("memory://x", None)
    assert (settings.worker.lease, settings.worker.shutdown_timeout) == (2.0, 60.0)
    assert settings.routes == (Route(match="a.*", queue="a"),)
    assert settings.accept == ("json", "msgpack")


def test_mistakes_of_code_say_so() -> None:
    assert complaint(code={"worker": {"concurrency": "5"}, "taks": {}, "tasks": {"eager": "true"}}).split(
        "\n"
    ) == [
        'code: worker.concurrency must be a whole number, not "5"; write 5 without quotes',
        "code: taks is no setting here; did you mean tasks?",
        'code: tasks.eager must be true or false, not "true"; write True',
    ]


def test_entries_by_name_are_merged_and_lists_are_replaced() -> None:
    resolved = resolve(
        "queues: {a: {priority: 1, serializer: json}, b: {priority: 2}}\n"
        "serializers: {x: m:X}\n"
        "routes: [{match: a, queue: a}, {match: b, queue: b}]\n",
        code={
            "queues": {"a": {"priority": 9}, "c": {}},
            "serializers": {"y": "m:Y"},
            "routes": [{"match": "c", "queue": "c"}],
        },
    )
    queues = resolved.settings.queues
    assert {name: queue.priority for name, queue in queues.items()} == {"a": 9, "b": 2, "c": None}
    assert queues["a"].serializer == "json"
    assert resolved.settings.serializers == {"x": "m:X", "y": "m:Y"}
    assert [route.match for route in resolved.settings.routes] == ["c"]
    assert resolved.origin("queues.a.priority") == "code"
    assert resolved.origin("queues.a.serializer") == "greenq.yaml:1"
    assert resolved.origin("routes[0].match") == "code"


def test_our_own_serializers_count_as_known_names() -> None:
    text = "serializers: {cbor: m:Cbor}\naccept: [json, cbor]\ntasks: {serializer: cbor}\n"
    assert resolve(text, names={"serializer": ["json"]}).settings.tasks.serializer == "cbor"


def test_the_real_environment_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GREENQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GREENQ_WORKER_PROCESSES", "3")
    assert load().settings.worker.processes == 3


def test_loading_imports_neither_pools_nor_brokers_nor_anything_heavy() -> None:
    program = (
        "import sys; from greenq.config import load; load(environ={})\n"
        "heavy = {'kombu', 'gevent', 'eventlet', 'greenlet', 'pools', 'click', 'asyncio', 'ssl', 'socket',\n"
        "         'threading'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
