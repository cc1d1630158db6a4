"""The checker finds what it looks for: one that never complains would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import Report, check
from tests.chaos.ledger import Entry, Ledger

ONE, OTHER = 100, 200


def entry(kind: str, at: float, process: int = ONE, note: str = "", retries: int = 0) -> Entry:
    return Entry(kind, at, process, process, "" if kind in ("fault", "up") else "a", retries, note)


def first_run(*, settled: bool = False) -> list[Entry]:
    run = [entry("sent", 1.0, 1), entry("got", 2.0), entry("start", 2.1), entry("end", 2.5, note="returned")]
    return [*run, entry("done", 2.6, note="ack")] if settled else run


def second_run(at: float = 5.0) -> list[Entry]:
    return [
        entry("got", at, OTHER, "1"), entry("start", at + 0.1, OTHER),
        entry("end", at + 0.2, OTHER, "returned"), entry("done", at + 0.3, OTHER, "ack"),
    ]  # fmt: skip


def judged(*entries: Entry) -> Report:
    return check(sorted(entries, key=lambda entry: entry.at))


def test_what_was_run_once_is_in_order() -> None:
    report = judged(*first_run(settled=True))
    assert (report.confirmed, report.ended, report.problems) == (1, 1, [])


def test_what_was_confirmed_and_never_ended_is_lost() -> None:
    assert judged(entry("sent", 1.0, 1), entry("got", 2.0), entry("start", 2.1)).lost == ["a"]


def test_an_end_that_is_recorded_elsewhere_is_an_end() -> None:
    report = check([entry("sent", 1.0, 1)], recorded={"a"})
    assert (report.lost, report.failed) == ([], ["a"])


def test_a_second_run_after_a_kill_has_a_cause() -> None:
    report = judged(*first_run(), entry("fault", 2.7, note="kill"), *second_run())
    assert (report.caused, report.uncaused) == ([("a", 0)], [])


def test_a_second_run_for_nothing_has_none() -> None:
    assert judged(*first_run(), *second_run()).uncaused == [("a", 0)]


def test_a_kill_of_another_process_is_no_cause() -> None:
    killed = [entry("up", 0.5, 300), entry("fault", 3.0, 300, "kill")]
    assert judged(*first_run(), *killed, *second_run()).uncaused == [("a", 0)]


def test_a_kill_of_who_may_have_copied_it_is_a_cause_where_there_are_copies() -> None:
    died = [entry("got", 2.2, 300, "1"), entry("fault", 3.0, 300, "kill")]
    entries = sorted([*first_run(), *died, *second_run()], key=lambda entry: entry.at)
    assert check(entries).uncaused == [("a", 0)]
    assert check(entries, copies=True).uncaused == []
    normal = [entry("got", 2.2, 300, "0"), entry("fault", 3.0, 300, "kill")]
    entries = sorted([*first_run(), *normal, *second_run()], key=lambda entry: entry.at)
    assert check(entries, copies=True).uncaused == [("a", 0)]


def test_what_was_put_back_before_a_kill_did_not_return_because_of_it() -> None:
    had = [entry("sent", 1.0, 1), entry("got", 2.0), entry("done", 2.5, note="requeue")]
    death = entry("fault", 3.0, note="kill")
    assert judged(*had, death, *second_run(9.0)).slowest == {}
    assert judged(*had, entry("got", 2.7), death, *second_run(9.0)).slowest == {"kill": 6.0}


def test_a_kill_after_the_settlement_is_no_cause() -> None:
    report = judged(*first_run(settled=True), entry("fault", 3.0, note="kill"), *second_run())
    assert report.uncaused == [("a", 0)]


def test_the_next_try_of_a_task_is_no_second_run() -> None:
    again = [entry("start", 3.0, retries=1), entry("end", 3.1, note="returned", retries=1)]
    assert judged(*first_run(settled=True), *again).problems == []


def test_what_nobody_sent_is_strange() -> None:
    assert judged(*first_run()[1:]).strange == ["a"]


def test_a_late_redelivery_is_out_of_bound() -> None:
    witness = entry("up", 0.5, OTHER)
    report = judged(witness, *first_run(), entry("fault", 3.0, note="kill"), *second_run(5.0))
    assert report.slowest["kill"] == pytest.approx(2.0)
    report.bound({"kill": 3.0})
    assert report.problems == []
    report.bound({"kill": 1.0})
    assert "redelivered 2.00 s after a death" in report.problems[0]


def test_nobody_is_late_who_was_not_there() -> None:
    report = judged(*first_run(), entry("fault", 3.0, note="kill"), entry("up", 4.8, OTHER), *second_run(5.0))
    assert report.slowest["kill"] == pytest.approx(0.2)


def test_a_ledger_keeps_what_was_written_around_a_torn_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.write("start", [("a", 0, "")])
    with ledger.path.open("a") as file:
        file.write("start 1.0 2 ")
    ledger.write("end", [("a", 1, "returned")])
    assert [(entry.kind, entry.retries) for entry in ledger.entries()] == [("start", 0), ("end", 1)]
