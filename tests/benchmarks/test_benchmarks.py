"""The harness measures what it says; how fast things are is not asserted here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.ledger import count, read
from benchmarks.peers import Peer, peers
from benchmarks.peers.greenq import GreenqSqlite
from benchmarks.run import run
from benchmarks.workloads import DRAINED, Workload, workloads
from benchmarks.workloads.noop import Noop

NOOP = Noop("noop", "noop drain")
BRIEF = (
    "body-1KiB", "bulk", "enqueue", "http", "memory", "round-trip", "start",
)  # fmt: skip
"""One workload of each kind that needs no other broker than the embedded one, the longer ones left out."""


@pytest.fixture(scope="module")
def brief() -> dict[str, Any]:
    chosen = [workload for workload in workloads() if workload.name in BRIEF]
    found = run([GreenqSqlite()], chosen, 20, 1, print)
    assert not found["failed"]
    return found


def figures(run: dict[str, Any], name: str) -> dict[str, float]:
    [workload] = [workload for workload in run["workloads"] if workload["name"] == name]
    [only] = workload["rounds"][GreenqSqlite.name]
    assert only["round"] == 1
    return dict(only)


@pytest.mark.parametrize("name", ["body-1KiB", "http"])
def test_a_drain_tells_rate_and_cost_and_that_each_task_ran_once(brief: dict[str, Any], name: str) -> None:
    found = figures(brief, name)
    assert found["tasks"] == 100
    assert found["rate"] > 0
    assert found["twice"] == 0
    assert found["rss"] > 5
    assert found["start"] > 0


def test_tasks_that_ask_a_server_wait_for_it(brief: dict[str, Any]) -> None:
    assert figures(brief, "http")["wall"] >= 0.05


def test_round_trips_are_given_in_percentiles(brief: dict[str, Any]) -> None:
    found = figures(brief, "round-trip")
    assert 0 < found["p50"] <= found["p90"] <= found["p99"]


def test_sends_are_counted(brief: dict[str, Any]) -> None:
    assert figures(brief, "enqueue")["rate"] > 0
    assert figures(brief, "bulk")["rate"] > 0


def test_memory_is_told_for_worker_and_supervisor_apart(brief: dict[str, Any]) -> None:
    found = figures(brief, "memory")
    assert 1 < found["supervisor"] < found["worker"] < found["all"]
    assert "task" in found


def test_a_start_takes_its_time(brief: dict[str, Any]) -> None:
    assert 0 < figures(brief, "start")["start"] < 60


def test_a_run_names_machine_versions_and_sources(brief: dict[str, Any]) -> None:
    assert brief["machine"]["cores"]
    assert "gevent" in brief["versions"][GreenqSqlite.name]
    assert set(brief["busy"]) == {"highest", "mean", "calm"}
    assert report.table(brief).count(f"| {GreenqSqlite.name} |") == len(brief["workloads"]) == len(BRIEF)


class Failing(Peer):
    name = "failing"

    def worker(self, python: Path, concurrency: int) -> list[str]:
        return [str(python), "-c", "print('no such luck'); raise SystemExit(3)"]


def load(task: str, count: int) -> None:
    """Send nothing: what `benchmarks.load` calls for `Failing`."""


def test_a_worker_that_fails_is_told_with_its_output_and_others_go_on() -> None:
    said: list[str] = []
    found = run([Failing(), GreenqSqlite()], [NOOP], 10, 1, said.append)
    [failed] = found["failed"]
    assert failed["what"] == "noop, round 1/1, failing"
    assert failed["why"].startswith("failing: the worker ended with 3 after 0 of 1 ticks\nno such luck")
    rounds = found["workloads"][0]["rounds"]
    assert rounds["failing"] == []
    assert len(rounds[GreenqSqlite.name]) == 1
    assert "failed: failing: the worker ended with 3" in said[0]
    assert "Failed: noop, round 1/1, failing" in report.table(found)


def test_nothing_is_begun_when_the_time_is_over() -> None:
    kept: list[dict[str, Any]] = []
    found = run([GreenqSqlite()], [NOOP], 10, 2, print, minutes=1e-9, keep=kept.append)
    assert found["workloads"][0]["rounds"] == {GreenqSqlite.name: []}
    assert found["busy"]["calm"]
    assert kept
    assert report.table(found) == ""


def test_the_table_gives_ratios_round_by_round() -> None:
    def rounds(*rates: float, first: int = 1) -> list[dict[str, float]]:
        return [
            {"round": number, "rate": rate, "cpu": 1.0, "rss": 2.0}
            for number, rate in enumerate(rates, first)
        ]

    found = {
        "baseline": "slow",
        "limits": {"proxy, turns a second": 1234.0},
        "failed": [],
        "workloads": [
            {
                "title": "noop",
                "ideal": None,
                "compared": "rate",
                "higher": True,
                "columns": [vars(column) for column in DRAINED],
                "rounds": {
                    "slow": rounds(10, 20, 10),
                    "quick": rounds(30, 40, 50),
                    "late": rounds(200, 100, first=2),
                    "absent": [],
                },
            }
        ],
    }
    text = report.table(found)
    assert "| slow | 10 | 10 to 20 | 1 | 2 | 3 | 1 |" in text
    assert "| quick | 40 | 30 to 50 | 1 | 2 | 3 | 3 (2 to 5) |" in text
    assert "| late | 150 | 100 to 200 | 1 | 2 | 2 | 10 (10 to 10) |" in text
    assert "absent" not in text
    assert "Limit of the proxy, turns a second: 1,234" in text


def test_every_peer_has_a_name_of_its_own_and_commands() -> None:
    assert len({peer.name for peer in peers()}) == len(peers()) >= 2
    for peer in peers():
        if peer.only == ("enqueue",):
            continue
        assert peer.scales or len(peer.workers(Path("/env/bin/python"), 1000, 1)) == 1
        for command in peer.workers(Path("/env/bin/python"), 1000, 2 if peer.scales else 1):
            assert command[0].startswith("/env/bin/")
            assert all(isinstance(word, str) for word in command)


def test_every_workload_has_a_name_of_its_own_and_somebody_who_takes_it() -> None:
    assert len({workload.name for workload in workloads()}) == len(workloads())
    for workload in workloads():
        taken = [peer for peer in peers() if workload.takes(peer)]
        assert taken, workload.name
        assert workload.compared in {"rate", "late"} | {column.figure for column in workload.columns}


def test_what_is_measured_only_in_some_workloads_names_those_there_are() -> None:
    known = {workload.name for workload in workloads()}
    for peer in peers():
        assert set(peer.only) <= known, peer.name


def test_slow_peers_get_fewer_tasks_but_some() -> None:
    class Slow(Failing):
        portion = 0.001

    class Quick(Failing):
        portion = 5.0

    limited = Noop("limited", "limited", most=300)
    assert NOOP.tasks(Slow(), 20_000) == 50
    assert NOOP.tasks(Quick(), 20_000) == 100_000
    assert limited.tasks(Quick(), 20_000) == 300


@pytest.mark.parametrize("option", ["--peer", "--workload"])
def test_an_unknown_name_is_refused_with_those_there_are(option: str) -> None:
    answer = CliRunner().invoke(main, [option, "nobody"])
    assert answer.exit_code == 2
    assert "'nobody' is none of: " in answer.output
    names = peers() if option == "--peer" else workloads()
    assert names[0].name in answer.output.replace("\n", " ")


def test_the_list_names_who_is_put_through_what() -> None:
    answer = CliRunner().invoke(main, ["list"])
    assert answer.exit_code == 0
    assert "noop: noop drain, -c 1000, results ignored\n" in answer.output
    assert Workload.takes(NOOP, GreenqSqlite())


def test_ticks_of_several_processes_are_read_together(tmp_path: Path) -> None:
    code = (
        "import os; from benchmarks.ledger import tick\n"
        "tick(); pid = os.fork()\n"
        "tick(); tick(); pid and os.waitpid(pid, 0)\n"
    )
    environ = {"BENCHMARKS_LEDGER": str(tmp_path), "BENCHMARKS_SLOTS": "5"}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
    ticks = read(tmp_path)
    assert len(ticks) == count(tmp_path) == 5
    assert ticks == sorted(ticks)


def test_ledgers_that_are_empty_or_full_are_counted(tmp_path: Path) -> None:
    import struct

    (tmp_path / "1").write_bytes(b"")
    (tmp_path / "2").write_bytes(struct.pack("4d", 0.5, 0, 0, 0))
    (tmp_path / "3").write_bytes(struct.pack("4d", 0.5, 1, 2, 3))
    (tmp_path / "4").write_bytes(struct.pack("4d", 0.5, 1, 2, 0))
    assert count(tmp_path) == 5
