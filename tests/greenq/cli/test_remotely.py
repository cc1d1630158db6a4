"""`greenq inspect` and `greenq control` ask and tell workers, here through the embedded database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.greenq.cli.command import greenq
from tests.greenq.control.conftest import Fleet
from tests.waiting import until

NODE = "one@test"
PATIENT = ("-t", "30s", "-d", NODE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Fleet, dict[str, str]]]:
    """A worker, and the environment of commands that find it."""
    url = f"sqlite:///{tmp_path}/greenq.db"
    fleet = Fleet(tmp_path, url)
    try:
        fleet.embedded(NODE)
        yield fleet, {"GREENQ_BROKER_URL": url, "GREENQ_RESULTS_URL": url}
    finally:
        fleet.close()


def test_answers_come_as_tables_and_as_json(place: tuple[Fleet, dict[str, str]]) -> None:
    fleet, env = place
    fleet.app.send_task("works.sleep", (600,))
    until(lambda: fleet.ask("active"))
    table = greenq("inspect", "active", *PATIENT, cwd=fleet.path, env=env)
    assert table.returncode == 0, table.stderr
    assert table.stdout.split()[:6] == ["node", "id", "task", "args", "kwargs", "for"]
    assert "works.sleep" in table.stdout
    found = greenq("inspect", "stats", "--json", *PATIENT, cwd=fleet.path, env=env)
    assert json.loads(found.stdout)[NODE]["pool"]["max-concurrency"] == 4


def test_what_a_worker_cannot_do_is_told_and_ends_the_command_badly(
    place: tuple[Fleet, dict[str, str]],
) -> None:
    fleet, env = place
    grown = greenq("control", "pool_grow", "3", *PATIENT, cwd=fleet.path, env=env)
    assert (grown.returncode, "pool will grow" in grown.stdout) == (0, True)
    refused = greenq("control", "time_limit", "works.add", "1", "2", *PATIENT, cwd=fleet.path, env=env)
    assert (refused.returncode, "can't keep" in refused.stdout) == (1, True)


def test_mistakes_are_told_before_anybody_is_asked(tmp_path: Path) -> None:
    env = {"GREENQ_BROKER_URL": f"sqlite:///{tmp_path}/greenq.db"}
    for arguments, hint in (
        (("inspect", "actve"), "did you mean active"), (("control", "pool_grow", "x"), "must be a number"),
        (("inspect", "ping", "x"), "takes no arguments"), (("inspect",), "--list shows them"),
    ):  # fmt: skip
        wrong = greenq(*arguments, cwd=tmp_path, env=env)
        assert (wrong.returncode, hint in wrong.stderr) == (2, True), wrong.stderr
    nobody = greenq("inspect", "ping", "-t", "100ms", cwd=tmp_path, env=env)
    assert (nobody.returncode, "no worker answered" in nobody.stderr) == (1, True), nobody.stderr
    listed = greenq("control", "--list", "--json", cwd=tmp_path, env=env)
    assert "revoke" in json.loads(listed.stdout)
