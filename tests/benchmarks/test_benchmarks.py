"""The harness measures what it says; how fast things are is not asserted here."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.ledger import read
from benchmarks.peers import Peer, peers
from benchmarks.peers.greenq import GreenqSqlite
from benchmarks.place import Failed
from benchmarks.run import run
from benchmarks.workloads import Workload, workloads
from benchmarks.workloads.noop import Noop


def test_a_run_measures_every_workload_in_every_round() -> None:
    said: list[str] = []
    found = run([GreenqSqlite()], workloads(), 200, 1, said.append)
    assert [workload["name"] for workload in found["workloads"]] == [w.name for w in workloads()]
    measured = {w["name"]: w["rounds"][GreenqSqlite.name][0] for w in found["workloads"]}
    for drained in ("noop", "noop-results", "sleep-100ms"):
        figures = measured[drained]
        assert figures["rate"] > 0
        assert figures["twice"] == 0
        assert figures["rss"] > 5
        assert figures["start"] > 0
    assert measured["sleep-100ms"]["wall"] >= 0.1
    assert 0 < measured["round-trip"]["p50"] <= measured["round-trip"]["p99"]
    assert measured["enqueue"]["rate"] > 0
    assert found["machine"]["cores"]
    assert "gevent" in found["versions"][GreenqSqlite.name]
    assert len(said) == len(workloads())
    text = report.table(found)
    assert text.count(GreenqSqlite.name) == len(workloads())
    assert "(the ideal) | 10,000" in text


class Failing(Peer):
    name = "failing"

    def worker(self, python: Path, concurrency: int) -> list[str]:
        return [str(python), "-c", "print('no such luck'); raise SystemExit(3)"]


def load(task: str, count: int) -> None:
    """Send nothing: what `benchmarks.load` calls for `Failing`."""


def test_a_worker_that_fails_is_told_with_its_output() -> None:
    with pytest.raises(Failed, match=r"failing: the worker ended with 3 after 0 of 10 ticks\s+no such luck"):
        run([Failing()], [Noop()], 10, 1, print)


def test_the_table_gives_ratios_to_the_baseline() -> None:
    def rounds(*rates: float) -> list[dict[str, float]]:
        return [{"rate": rate, "cpu": 1.0, "rss": 2.0} for rate in rates]

    found = {
        "baseline": "slow",
        "count": 10,
        "rounds": 3,
        "workloads": [
            {
                "title": "noop",
                "ideal": None,
                "compared": "rate",
                "higher": True,
                "columns": [vars(column) for column in Workload.columns],
                "rounds": {"slow": rounds(10, 20, 10), "quick": rounds(30, 40, 50)},
            }
        ],
    }
    text = report.table(found)
    assert "| slow | 10 | 10 to 20 | 1 | 2 | 1 |" in text
    assert "| quick | 40 | 30 to 50 | 1 | 2 | 3.0 (2.0 to 5.0) |" in text


def test_every_peer_has_a_name_of_its_own_and_a_command() -> None:
    assert len({peer.name for peer in peers()}) == len(peers()) >= 2
    for peer in peers():
        command = peer.worker(Path("/env/bin/python"), 1000)
        assert command[0].startswith("/env/bin/")
        assert all(isinstance(word, str) for word in command)


def test_an_unknown_peer_is_refused_with_those_there_are() -> None:
    answer = CliRunner().invoke(main, ["--peer", "nobody"])
    assert answer.exit_code == 2
    assert "'nobody' is none of: (bare RPOP, Redis)" in answer.output


def test_ticks_of_several_processes_are_read_together(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import os; from benchmarks.ledger import tick\n"
        "tick(); pid = os.fork()\n"
        "tick(); tick(); pid and os.waitpid(pid, 0)\n"
    )
    environ = {"BENCHMARKS_LEDGER": str(tmp_path), "BENCHMARKS_SLOTS": "5"}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
    ticks = read(tmp_path)
    assert len(ticks) == 5
    assert ticks == sorted(ticks)
