"""Compares the ledgers: what was lost, run twice without cause, stuck, or came back too late."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.ledger import DONE, END, FAULT, GOT, LATE, SENT, START, UNSURE, Entry

__all__ = ["Report", "check"]

Run = tuple[str, int]
"""A task's id and which of its tries it is."""

DEADLY = {"kill", "repeated", "orphaned"}
"""Faults that end a process with all that it holds: the first for a while, one that its supervisor answers
more slowly each time, and the end of the supervisor itself."""


@dataclass
class Report:
    """What the ledgers say.

    Attributes:
        lost: ids that were confirmed to their producer and have no end.
        caused: runs that were started again after a fault had struck the process that had them.
        uncaused: runs that were started again though nothing had happened to the process that had them, or
            that had been settled before.
        failed: ids whose end is that a pool's child was killed under them.
        strange: ids that ended and were never sent.
        slowest: for each kind of death, how long its slowest redelivery took, in seconds.
    """

    confirmed: int = 0
    ended: int = 0
    faults: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    caused: list[Run] = field(default_factory=list)
    uncaused: list[Run] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def bound(self, bounds: dict[str, float]) -> None:
        """Call it a problem where a redelivery took longer than its kind of death allows."""
        for kind, seconds in self.slowest.items():
            if seconds > bounds.get(kind, float("inf")):
                self.problems.append(
                    f"redelivered {seconds:.2f} s after a death ({kind}): {bounds[kind]:g} s are allowed"
                )


class Process:
    """What one worker process did, and what befell it."""

    def __init__(self) -> None:
        self.first = 0.0
        self.last = 0.0
        self.faults: list[tuple[float, str]] = []

    @property
    def death(self) -> tuple[float, str] | None:
        """When and of what it died, if it did."""
        deadly = [(at, kind) for at, kind in self.faults if kind in DEADLY]
        # What it still wrote came before its end, whatever the order of the records says.
        return (max(deadly[0][0], self.last), deadly[0][1]) if deadly else None


def check(
    entries: Iterable[Entry],
    recorded: Collection[str] = (),
    restarts: Iterable[float] = (),
    copies: bool = False,
) -> Report:
    """Compare.

    Parameters:
        entries: the ledger, in order.
        recorded: ids whose end is recorded elsewhere (a FAILURE whose task's child process was killed).
        restarts: times at which the broker was restarted, which may repeat what it then held as running.
        copies: suspects are charged by a copy: of one whose process dies meanwhile, both may be left.
    """
    report = Report()
    processes: dict[int, Process] = defaultdict(Process)
    starts: dict[Run, list[Entry]] = defaultdict(list)
    gots: dict[Run, list[Entry]] = defaultdict(list)
    settled: dict[Run, list[Entry]] = defaultdict(list)
    put_back: dict[Run, list[Entry]] = defaultdict(list)
    sent: set[str] = set()
    unsure: set[str] = set()
    ended: set[str] = set()
    for entry in entries:
        run = (entry.id, entry.retries)
        if entry.kind == FAULT:
            processes[entry.process].faults.append((entry.at, entry.note))
        elif entry.kind == SENT:
            sent.add(entry.id)
        elif entry.kind == UNSURE:
            unsure.add(entry.id)
        else:
            process = processes[entry.process]
            process.first = process.first or entry.at
            process.last = entry.at
            if entry.kind == GOT:
                gots[run].append(entry)
            elif entry.kind == START:
                starts[run].append(entry)
            elif entry.kind == END and entry.note != "retried":
                ended.add(entry.id)
            elif entry.kind == DONE and entry.note in ("ack", "dead"):
                settled[run].append(entry)
            elif entry.kind == DONE:
                put_back[run].append(entry)
            elif entry.kind == LATE:
                report.refused += 1
    report.confirmed = len(sent)
    report.ended = len(ended)
    report.failed = sorted(id for id in sent - ended if id in recorded)
    report.lost = sorted(sent - ended - set(report.failed))
    report.strange = sorted(ended - sent - unsure)
    _judge_repeats(report, starts, gots, settled, processes, sorted(restarts), copies)
    _time_returns(report, gots, settled, put_back, processes)
    if report.lost:
        report.problems.append(f"lost {len(report.lost)}, such as {report.lost[:3]}")
    if report.uncaused:
        report.problems.append(
            f"{len(report.uncaused)} run again without cause, such as {report.uncaused[:3]}"
        )
    if report.strange:
        report.problems.append(f"{len(report.strange)} that nobody sent, such as {report.strange[:3]}")
    return report


def _judge_repeats(
    report: Report,
    starts: dict[Run, list[Entry]],
    gots: dict[Run, list[Entry]],
    settled: dict[Run, list[Entry]],
    processes: dict[int, Process],
    restarts: list[float],
    copies: bool,
) -> None:
    """Ask of each run that was started again what had happened to the one before."""
    for run, entries in starts.items():
        for before, after in pairwise(entries):
            ends = [entry.at for entry in settled.get(run, ()) if entry.process == before.process]
            done = bool(ends) and ends[0] < after.at
            given = _handed(gots.get(run, ()), before)
            struck = any(
                _explains(kind, at, given, after.at) for at, kind in processes[before.process].faults
            )
            handed = _handed(gots.get(run, ()), after)
            paused = any(
                kind == "stop" and handed <= at < after.at for at, kind in processes[after.process].faults
            )
            restarted = bisect_right(restarts, after.at) > bisect_right(restarts, before.at)
            copied = copies and _was_copied(gots.get(run, ()), processes, after.at)
            if (
                (struck and not done)
                or paused
                or restarted
                or copied
                or _was_sent_again(run, starts, after.at)
            ):
                report.caused.append(run)
            else:
                report.uncaused.append(run)


def _handed(gots: Iterable[Entry], start: Entry) -> float:
    """When the process that started a run had been handed it: a pool's child may start it much later."""
    return next((got.at for got in gots if got.process == start.process), start.at)


def _explains(kind: str, at: float, given: float, again: float) -> bool:
    """Whether a fault at this time is why what was given to a process was begun again."""
    if kind in DEADLY or kind == "term":
        # It may have started a task between the record and the signal, but none after that.
        return at < again
    return kind == "stop" and given <= at < again


def _was_copied(gots: Iterable[Entry], processes: dict[int, Process], before: float) -> bool:
    """Whether a process died that had been handed it as a suspect, and may just have been charging it."""
    deaths = [processes[got.process].death for got in gots if got.note != "0" and got.at < before]
    return any(death is not None and death[0] < before for death in deaths)


def _was_sent_again(run: Run, starts: dict[Run, list[Entry]], before: float) -> bool:
    """Whether the try that this one follows from was repeated: then its message may have been sent twice."""
    parent = (run[0], run[1] - 1)
    return len([entry for entry in starts.get(parent, ()) if entry.at < before]) > 1


def _time_returns(
    report: Report,
    gots: dict[Run, list[Entry]],
    settled: dict[Run, list[Entry]],
    put_back: dict[Run, list[Entry]],
    processes: dict[int, Process],
) -> None:
    """Find the slowest way back to a living process of what a dead one had.

    Where all were struck in the meantime the time counts that the oldest of the living has been there.
    """
    lives = [
        (process.first, process.death[0] if process.death else float("inf"))
        for process in processes.values()
        if process.first
    ]
    for run, entries in gots.items():
        for held, again in pairwise(entries):
            process = processes[held.process]
            death = process.death
            if death is None or held.process == again.process:
                continue
            if any(entry.process == held.process for entry in settled.get(run, ())):
                continue
            if any(e.process == held.process and e.at >= held.at for e in put_back.get(run, ())):
                continue  # it was its queue's again when the process died
            at, kind = death
            at = max(at, min((first for first, last in lives if first < again.at <= last), default=at))
            report.slowest[kind] = max(report.slowest.get(kind, 0.0), again.at - at)
