"""`greenq config` as a user meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from greenq.cli.ending import run
from greenq.config.json_schema import json_schema
from greenq.config.starter import starter


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GREENQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def greenq(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["config", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_init_writes_a_file_that_checks_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert greenq(capsys, "init") == (
        0,
        "wrote greenq.yaml; check your changes with: greenq config check\n",
        "",
    )
    assert Path("greenq.yaml").read_text() == starter()
    assert greenq(capsys, "check") == (0, "ok: greenq.yaml\n", "")


def test_init_overwrites_only_when_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("app: mine\n")
    code, out, err = greenq(capsys, "init", "mine.yaml")
    assert (code, out) == (2, "")
    assert err.endswith("mine.yaml is there already: name another file, or overwrite it with --force\n")
    assert Path("mine.yaml").read_text() == "app: mine\n"
    code, out, _ = greenq(capsys, "init", "mine.yaml", "--force")
    assert (code, out.strip()) == (
        0,
        "wrote mine.yaml; check your changes with: greenq config check --config mine.yaml",
    )
    assert Path("mine.yaml").read_text() == starter()


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (".", ". is a directory: name a file in it, ./greenq.yaml"),
        ("none/greenq.yaml", "none/greenq.yaml cannot be written: No such file or directory"),
    ],
)
def test_init_says_why_it_cannot_write(capsys: pytest.CaptureFixture[str], path: str, end: str) -> None:
    for force in ([], ["--force"]):
        code, out, err = greenq(capsys, "init", path, *force)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.rstrip().endswith(end)


def test_check_prints_the_mistakes_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("greenq.yaml").write_text("worker:\n  pool: gevnt\n  concurency: 3\n")
    assert greenq(capsys, "check") == (
        2,
        "",
        'greenq.yaml:2: worker.pool names no pool: "gevnt"; did you mean gevent?\n'
        "greenq.yaml:3: worker.concurency is no setting here; did you mean concurrency?\n",
    )


def test_check_takes_a_file_and_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert greenq(capsys, "check")[0] == 0
    assert greenq(capsys, "check", "--config", "none.yaml") == (
        2,
        "",
        "none.yaml: there is no such file; write one with: greenq config init none.yaml\n",
    )
    monkeypatch.setenv("GREENQ_TASKS_SERIALIZER", "jsn")
    code, _, err = greenq(capsys, "check")
    assert code == 2
    assert err.startswith("GREENQ_TASKS_SERIALIZER: ")


def test_show_prints_every_value_and_its_origin_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("greenq.yaml").write_text("broker: redis://:hunter2@host/0\nqueues:\n  mail: {priority: 5}\n")
    monkeypatch.setenv("GREENQ_WORKER_POOL", "threads")
    code, out, err = greenq(capsys, "show")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["setting"] == ["value", "from"]
    assert lines["broker.url"] == ["redis://:***@host/0", "greenq.yaml:1"]
    assert lines["worker.pool"] == ["threads", "GREENQ_WORKER_POOL"]
    assert lines["worker.lease"] == ["15s", "default"]
    assert lines["queues.mail.priority"] == ["5", "greenq.yaml:3"]
    assert "hunter2" not in out
    origins = {line.rindex("  ") for line in out.splitlines() if not line.endswith("  ")}
    assert len(origins) == 1, "the last column does not line up"


def test_show_prints_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("greenq.yaml").write_text("broker: redis://:hunter2@host/0\nworker: {lease: 5s}\n")
    code, out, _ = greenq(capsys, "show", "--json")
    shown = json.loads(out)
    assert (code, shown["path"]) == (0, "greenq.yaml")
    assert shown["settings"]["worker.lease"] == {"value": 5.0, "origin": "greenq.yaml:2"}
    assert shown["settings"]["broker.url"] == {"value": "redis://:***@host/0", "origin": "greenq.yaml:1"}
    assert shown["settings"]["accept"] == {"value": ["json", "msgpack"], "origin": "default"}


def test_schema_prints_the_schema_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = greenq(capsys, "schema")
    printed = json.loads(out)
    assert code == 0
    assert printed["properties"].keys() == json_schema()["properties"].keys()
    assert "gevent" in printed["properties"]["worker"]["properties"]["pool"]["anyOf"][0]["enum"]
