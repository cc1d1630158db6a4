"""What doctor finds, and what it advises."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenq.cli import machine
from greenq.cli.finding import Finding
from greenq.config import load
from greenq.config.schema import BrokerSettings, Settings, WorkerSettings
from tests.greenq.cli.command import greenq

BLOCKED = "import sys\nsys.modules.update(gevent=None, eventlet=None)"


def diagnose(cwd: Path, *arguments: str, **env: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """The exit code, and the findings by subject."""
    done = greenq("doctor", "--json", *arguments, cwd=cwd, env=env)
    assert done.stderr in ("", "hello\n")
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["subject"], []).append(finding)
    return done.returncode, found


def levels(findings: list[dict[str, str]]) -> set[str]:
    return {finding["level"] for finding in findings}


def test_a_healthy_place_has_nothing_to_fix(shop: Path) -> None:
    code, found = diagnose(shop, "-A", "shop")
    assert code == 0
    assert levels(found["broker"]) == levels(found["results"]) == {"ok"}
    assert "3 tasks" in found["app"][0]["text"]
    assert "before it imports the application" in found["pool"][0]["text"]
    assert "resolved" in found["pool"][1]["text"]


def test_tasks_that_are_only_known_once_all_is_imported_are_counted(shop: Path) -> None:
    (shop / "chores").mkdir()
    (shop / "chores" / "__init__.py").write_text("")
    (shop / "chores" / "tasks.py").write_text("from shop import app\n\n\n@app.task\ndef sweep():\n    pass\n")
    (shop / "greenq.yaml").write_text("autodiscover: [chores]")
    assert "4 tasks" in diagnose(shop, "-A", "shop")[1]["app"][0]["text"]
    text = "from celery import Celery\n\napp = Celery('old', broker='memory://')\n"
    (shop / "old.py").write_text(f"{text}\n\n@app.task\ndef add():\n    pass\n")
    (shop / "greenq.yaml").unlink()
    found = diagnose(shop, "-A", "old")[1]["app"]
    assert levels(found) == {"ok"}
    assert "tasks" in found[0]["text"]


def test_each_line_is_for_people_on_a_terminal_too(shop: Path) -> None:
    done = greenq("doctor", "-A", "shop", cwd=shop)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("ok    python")
    assert done.stdout.splitlines()[-1] == "all is well"


def test_everything_that_fails_is_reported_with_what_to_do(shop: Path) -> None:
    (shop / "greenq.yaml").write_text(
        "app: shpo\nbroker: {url: 'sqlite:///nowhere/x.db'}\nresults: {url: 'sqlite:///nowhere/y.db'}"
    )
    code, found = diagnose(shop)
    assert code == 1
    for subject, text in (("app", "did you mean shop"), ("broker", "nowhere"), ("results", "nowhere")):
        (finding,) = found[subject]
        assert finding["level"] == "fail"
        assert text in finding["text"]
        assert finding["advice"]


def test_a_mistake_in_the_configuration_is_a_finding(shop: Path) -> None:
    (shop / "greenq.yaml").write_text("worker: {pol: gevent}\ntasks: {priority: 12}")
    code, found = diagnose(shop)
    assert code == 1
    assert [finding["level"] for finding in found["config"]] == ["fail", "fail"]
    assert "did you mean pool" in found["config"][0]["text"]


def test_a_pool_without_its_package_is_found(shop: Path) -> None:
    (shop / "blocked").mkdir()
    (shop / "blocked" / "sitecustomize.py").write_text(BLOCKED)
    code, found = diagnose(shop, PYTHONPATH="blocked")
    assert code == 1
    assert "pip install" in found["pool"][0]["text"]


def test_an_application_that_ends_the_process_is_found(shop: Path) -> None:
    (shop / "bad.py").write_text("import os\nos._exit(3)")
    code, found = diagnose(shop, "-A", "bad")
    assert code == 1
    assert "exit code 3" in found["app"][0]["text"]


def test_an_application_that_talks_while_it_is_imported_is_heard_out(shop: Path) -> None:
    (shop / "loud.py").write_text((shop / "shop.py").read_text() + "\nprint('hello')\n")
    code, found = diagnose(shop, "-A", "loud")
    assert code == 0
    assert found["app"][0]["level"] == "ok"


def test_eventlet_is_labelled_and_a_private_broker_warned_of(shop: Path) -> None:
    (shop / "greenq.yaml").write_text("worker: {pool: eventlet}\nbroker: {url: 'memory://x'}")
    code, found = diagnose(shop)
    assert code == 0
    assert levels(found["eventlet"]) == {"warn"}
    assert "warn" in levels(found["broker"])


def test_the_settings_of_the_applications_code_count(shop: Path) -> None:
    (shop / "coded.py").write_text(
        "from greenq import GreenQ\napp = GreenQ(broker='sqlite:///coded.db')\n@app.task\ndef f(): ...\n"
    )
    _, found = diagnose(shop, "-A", "coded")
    assert "sqlite:///coded.db" in found["broker"][0]["text"]


def test_passwords_are_not_shown(shop: Path) -> None:
    done = greenq(
        "doctor", cwd=shop, env={"GREENQ_BROKER_URL": "redish://user:pa55@host", "GREENQ_RESULTS_URL": ""}
    )
    assert "pa55" not in done.stdout + done.stderr
    assert done.returncode == 1


# ── the machine ──────────────────────────────────────────────────────────────────────────────────────────


def settings(concurrency: int = 100, broker: str = "sqlite:///greenq.db") -> Settings:
    return Settings(worker=WorkerSettings(concurrency=concurrency), broker=BrokerSettings(url=broker))


def one(findings: Iterator[Finding]) -> Finding:
    (found,) = list(findings)
    return found


@pytest.mark.parametrize(
    ("limits", "level", "says"),
    [
        ((65536, 65536), "ok", ""),
        ((1024, 65536), "warn", "ulimit -n 2128"),
        ((256, 512), "warn", "ask root"),
        ((-1, -1), "ok", ""),
    ],
)
def test_open_files_are_compared_with_the_concurrency(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], level: str, says: str
) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: limits)
    found = one(machine.open_files(settings(concurrency=1000)))
    assert found.level == level
    assert says in found.advice


@pytest.mark.parametrize(("free", "level"), [(10**10, "ok"), (5 * 10**8, "warn"), (10**6, "fail")])
def test_a_full_disk_is_found_before_it_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    assert one(machine.disk(settings())).level == level


def test_a_network_disk_is_refused_for_the_embedded_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "_file_system", lambda _folder: "nfs4")
    _, found = machine.disk(settings())
    assert found.level == "fail"
    assert "local disk" in found.advice


def test_a_broker_that_is_no_file_needs_no_disk() -> None:
    found = load(discover=False, environ={}, code={"broker": "memory://x", "results": {"url": None}})
    assert list(machine.disk(found.settings)) == []


def test_a_clock_before_the_installation_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.time, "time", lambda: 0.0)
    found = one(machine.clock(settings()))
    assert found.level == "fail"
    assert "1970" in found.text


def test_a_disk_with_another_clock_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    now = time.time()
    monkeypatch.setattr(machine.time, "time", lambda: now + 100)
    assert one(machine.clock(settings())).level == "warn"


def test_a_free_threaded_build_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(name: str) -> Any:
        return 1 if name == "Py_GIL_DISABLED" else None

    monkeypatch.setattr(machine.sysconfig, "get_config_var", build)
    found = one(machine.python(None))
    assert found.level == "warn"
    assert "GIL" in found.text
