"""What a run has found is judged, drawn and kept as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from benchmarks import charts, goals, history, records
from benchmarks.__main__ import main
from benchmarks.found import Found
from benchmarks.peers import peers
from benchmarks.place import Failed
from benchmarks.workloads import workloads

CELERY, GREENQ = "Celery gevent, Redis", "greenq gevent, Redis"


def made(figures: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, Any]:
    """A run of those workloads: for each system, the figures of each round."""
    kinds = {workload.name: workload for workload in workloads()}
    return {
        "began": "2026-11-21T12:00:00+00:00",
        "commit": "abc1234",
        "machine": {"cores": "2"},
        "busy": {"highest": 0.1, "mean": 0.05, "calm": True},
        "baseline": CELERY,
        "count": 100,
        "rounds": 2,
        "limits": {},
        "failed": [],
        "workloads": [
            {
                "name": name,
                "title": kinds[name].title,
                "compared": kinds[name].compared,
                "higher": kinds[name].higher,
                "columns": [vars(column) for column in kinds[name].columns],
                "ideal": kinds[name].ideal,
                "rounds": {
                    system: [{"round": number, **taken} for number, taken in enumerate(rounds, 1)]
                    for system, rounds in systems.items()
                },
            }
            for name, systems in figures.items()
        ],
    }


def drained(*rates: float) -> list[dict[str, float]]:
    return [{"rate": rate, "cpu": 1.0, "rss": 2.0} for rate in rates]


def found_for(text: str, run: dict[str, Any], calls: list[dict[str, Any]] | None = None) -> goals.Judged:
    [judged] = [one for one in goals.judge(run, calls or []) if one.goal.text == text]
    return judged


def test_goals_name_only_workloads_and_systems_that_there_are() -> None:
    class Asked(Found):
        def rounds(self, workload: str, system: str) -> list[dict[str, float]]:
            asked.add((workload, system))
            return []

    asked: set[tuple[str, str]] = set()
    for goal in goals.GOALS:
        goal.measure(Asked(made({})))
    takes = {
        (workload.name, peer.name) for workload in workloads() for peer in peers() if workload.takes(peer)
    }
    # Nothing turns confirmations off yet, so nothing can measure it.
    assert asked - takes <= {("enqueue", "greenq gevent, RabbitMQ, unconfirmed")}


def test_a_goal_is_met_missed_or_unknown() -> None:
    def noop(theirs: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, Any]:
        return made({"noop": {CELERY: theirs, GREENQ: ours}})

    beside = "noop drain, Redis, beside Celery gevent"
    assert found_for(beside, noop(drained(10, 20), drained(400, 1200))).met is True
    assert found_for(beside, noop(drained(10, 10), drained(399, 390))).met is False
    assert found_for(beside, made({"noop": {GREENQ: drained(400, 390)}})).met is None
    assert found_for(beside, noop([], drained(400))).met is None


def test_the_fastest_peer_is_no_yardstick_and_not_ours() -> None:
    systems = {"(bare RPOP, Redis)": drained(9000), "greenq solo, Redis": drained(8000), CELERY: drained(10)}
    run = made({"noop": {**systems, "repid, Redis": drained(100), GREENQ: drained(600)}})
    judged = found_for("noop drain, Redis, beside the fastest peer", run)
    assert judged.value == 6.0


def test_where_less_is_better_the_ratio_is_turned_round() -> None:
    def asked(p50: float) -> list[dict[str, float]]:
        return [{"p50": p50, "p90": p50, "p99": p50}]

    run = made({"round-trip": {CELERY: asked(3.0), "huey greenlet, Redis": asked(0.8), GREENQ: asked(0.4)}})
    assert found_for("round trip, idle, Redis, p50 beside the best peer", run).value == pytest.approx(2.0)
    assert found_for("round trip, idle, Redis, p99", run).met is True


def test_the_worst_count_of_calls_decides() -> None:
    text = "Python calls per message on any broker, by 1 and by 100"
    counts = [{"broker": "memory", "calls": 30.0}, {"broker": "amqp", "calls": 61.0}]
    assert found_for(text, made({}), counts).met is False
    assert found_for(text, made({}), counts[:1]).met is True
    assert found_for(text, made({})).met is None


def test_check_fails_if_anything_is_missed(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    records.write(file, made({"start": {GREENQ: [{"start": 0.4}]}}))
    answer = CliRunner().invoke(main, ["check", str(file)])
    assert "| 11 | start to the first task | 0.4 | ≤ 0.5 s | met |" in answer.output
    assert "sources abc1234, 100 tasks as a rule, at most 2 rounds; the machine was calm." in answer.output
    records.write(file, made({"start": {GREENQ: [{"start": 0.6}]}}))
    answer = CliRunner().invoke(main, ["check", str(file)])
    assert "**missed**" in answer.output
    assert answer.exit_code == 1


def test_check_without_a_run_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "HOME", tmp_path)
    answer = CliRunner().invoke(main, ["check"])
    assert answer.exit_code == 1
    assert "run `python -m benchmarks` first" in answer.output


def test_a_file_that_is_no_result_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("{")
    answer = CliRunner().invoke(main, ["show", str(file)])
    assert answer.exit_code == 1
    assert "can't be read" in answer.output


@pytest.mark.parametrize("rates", [(1.0,), (0.0,), (10, 20, 30), (0.001, 90_000), (5e6, 5e6)])
def test_pictures_are_whole_and_keep_bars_inside(rates: tuple[float, ...], tmp_path: Path) -> None:
    systems = {f"system <{number}> & more": drained(rate) for number, rate in enumerate(rates)}
    run = made({"noop": systems, "sleep-100ms-c1000": systems, "bulk": {"absent": []}})
    drawn = charts.draw(run, tmp_path / "pictures")
    assert [path.name for path in drawn] == ["noop.svg", "sleep-100ms-c1000.svg"]
    for path in drawn:
        root = ElementTree.parse(path).getroot()
        bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("x")]
        assert len(bars) == len(rates)
        for bar in bars:
            assert 0 < float(bar.get("width", 0)) <= charts.WIDTH - charts.LABEL
        assert "system <0> & more" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_history_shows_a_regression_as_a_ratio(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    assert "No run was kept yet" in history.table(history.read(file))
    waited = [{"start": 2.0}]
    history.add(
        made({
            "noop": {CELERY: drained(10), GREENQ: drained(500)},
            "start": {CELERY: waited, GREENQ: [{"start": 0.5}]},
        }),
        file,
    )  # fmt: skip
    history.add(
        made({
            "noop": {CELERY: drained(20), GREENQ: drained(800)},
            "start": {CELERY: waited, GREENQ: [{"start": 0.4}]},
        }),
        file,
    )  # fmt: skip
    text = history.table(history.read(file))
    assert f"| noop | {GREENQ} | 50 | 40 | 0.80 **fell** |" in text
    assert f"| start | {GREENQ} | 4 | 5 | 1.25 |" in text
    assert "start" not in history.table(history.read(file), ("noop",))


def test_history_without_the_baseline_goes_by_the_best_peer(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    run = made({"noop": {"repid, Redis": drained(10), "arq, Redis": drained(5), GREENQ: drained(50)}})
    history.add(run, file)
    assert f"| noop | {GREENQ} | 5 |  |" in history.table(history.read(file))


def test_a_torn_line_of_the_history_is_named(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(json.dumps(history.entry(made({}))) + "\n{torn\n")
    with pytest.raises(Failed, match="line 2, is not JSON"):
        history.read(file)
