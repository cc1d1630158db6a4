"""What the runner of Celery's suite makes of a run: it must not call a run good that was none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.celery_suite.family import Family, alive
from tests.celery_suite.left_out import FEW_SLOTS, FILES, LEFT_OUT
from tests.celery_suite.outcomes import Outcomes, missed, table
from tests.waiting import until


def told(path: Path, *lines: Mapping[str, object]) -> Outcomes:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = Outcomes()
    found.read(path)
    return found


def test_a_test_is_as_good_as_its_gravest_phase(tmp_path: Path) -> None:
    phases = [{"test": "a", "outcome": one} for one in ("passed", "failed", "passed")]
    assert told(tmp_path / "out", *phases).failed == ["a"]


def test_a_test_that_is_run_again_counts_as_it_ended_then(tmp_path: Path) -> None:
    phases = [{"test": "a", "outcome": one} for one in ("passed", "failed", "rerun", "passed", "passed")]
    assert told(tmp_path / "out", *phases).tests == {"a": "passed"}


def test_a_repeated_test_replaces_what_it_was(tmp_path: Path) -> None:
    found = told(tmp_path / "out", {"test": "a", "outcome": "failed"}, {"test": "b", "outcome": "failed"})
    (tmp_path / "again").write_text(json.dumps({"test": "a", "outcome": "passed"}))
    found.read(tmp_path / "again")
    assert found.failed == ["b"]


def test_only_what_celerys_worker_passes_is_missed() -> None:
    ours = {"a": "failed", "b": "failed", "c": "passed", "d": "xfailed", "e": "skipped"}
    theirs = {"a": "passed", "b": "failed", "c": "failed", "d": "xpassed", "e": "skipped"}
    assert missed(ours, theirs) == ["a", "d"]
    shown = table(ours, theirs)
    assert "passed by Celery's worker only:\n  a (failed)\n  d (xfailed)\n" in shown
    assert "passed by greenq's only:\n  c (failed)\n" in shown
    assert shown.endswith("failed by both:\n  b (failed)")


def test_outcomes_are_kept_and_added_to(tmp_path: Path) -> None:
    place = tmp_path / "of" / "celery.json"
    Outcomes({"a": "failed", "b": "passed"}).keep(place)
    Outcomes({"a": "passed"}).keep(place)
    assert Outcomes.kept(place).tests == {"a": "passed", "b": "passed"}


def test_a_worker_process_that_dies_is_told_once(tmp_path: Path) -> None:
    program = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            family = Family(parent.pid)
            assert family.pids == sorted([parent.pid, child])
            assert family.dead() == []
        finally:
            subprocess.run(["kill", "-9", str(child)], check=True)
        until(lambda: alive(child) is None, "the child to be dead, though nobody has waited for it")
        assert family.dead() == [child]
        assert family.dead() == []
        assert family.pids == [parent.pid]
    line = {"dead": [child], "test": "a"}
    assert told(tmp_path / "out", line).deaths == [f"processes [{child}] died by the end of a"]


def test_everything_left_out_has_a_reason_of_its_own() -> None:
    assert all(len(reason) > 20 for reason in [*FILES.values(), *LEFT_OUT.values(), *FEW_SLOTS.values()])
    assert not [test for test in LEFT_OUT | FEW_SLOTS if test.partition("::")[0] in FILES]
