"""Random workflows end as their evaluation says though the workers that run them are killed.

``RANDOM_SHAPES=1000`` tries more of them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from greenq import GreenQ
from tests.greenq.canvas_random import killed_tasks
from tests.greenq.canvas_random.shapes import ERRBACKS, Shape, make
from tests.processes import lives, stop
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

SHAPES = int(os.environ.get("RANDOM_SHAPES", "10"))
KILLS = max(2, SHAPES // 25)
PATIENCE = 120.0 + SHAPES


@dataclass(frozen=True)
class Line:
    """A line of the ledger: what happened when (seconds), in which process, to which run of which call."""

    what: str
    when: float
    pid: int
    seed: int
    number: int
    retries: int
    id: str


class Scene:
    """Two workers of one command, who sends to them, and who kills them.

    Parameters:
        url: where messages are.
        results: where results are, and where chords are counted.
    """

    def __init__(self, url: str, results: str, directory: Path) -> None:
        self.ledger, self.log = directory / "ledger", directory / "log"
        self.ledger.touch()
        self.app = GreenQ("sender", broker=url, results=results)
        self.killed: dict[int, float] = {}
        self._lines: list[Line] = []
        self._read = 0
        env = {
            **os.environ, "LEDGER": str(self.ledger), "GREENQ_BROKER_URL": url, "GREENQ_RESULTS_URL": results,
            "GREENQ_WORKER_LEASE": "60s", "GREENQ_WORKER_MAX_DELIVERIES": "1000",
        }  # fmt: skip
        with self.log.open("wb") as log:
            self.command = subprocess.Popen(
                [
                    sys.executable, "-m", "greenq", "worker", "-A", "tests.greenq.canvas_random.killed_tasks",
                    "--processes", "2", "--pool", "threads", "-c", "4",
                ],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip

    def lines(self) -> list[Line]:
        """The ledger so far."""
        with self.ledger.open() as file:
            file.seek(self._read)
            new = file.read()
        new = new[: new.rfind("\n") + 1]  # the last line may be on its way
        self._read += len(new)
        for text in new.splitlines():
            what, when, pid, seed, number, retries, id = text.split()
            self._lines.append(Line(what, float(when), int(pid), int(seed), int(number), int(retries), id))
        return self._lines

    def kill_one(self) -> bool:
        """Kill a process that runs a task just now, if there is one."""
        begun: dict[tuple[int, str, int], Line] = {}
        for line in self.lines():
            run = (line.pid, line.id, line.number)
            if line.what == "begin":
                begun[run] = line
            else:
                begun.pop(run, None)
        alive = sorted({line.pid for line in begun.values()} - self.killed.keys())
        if not alive:
            return False
        pid = random.choice(alive)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), f"the end of {pid}", PATIENCE)
        # Nothing of it can come later, whatever its last line says.
        self.killed[pid] = max([0.0, *(line.when for line in self.lines() if line.pid == pid)])
        return True

    def empty(self) -> bool:
        """Whether the broker has nothing left to be done."""
        depth = self.app.broker.depth().get("celery")
        return depth is None or not (depth.ready + depth.delayed + depth.leased)

    def close(self) -> None:
        self.app.close()
        stop(self.command, 60)


def judge(
    lines: list[Line], killed: dict[int, float], shapes: dict[int, Shape], one_step: bool = True
) -> list[str]:
    """What the ledger says that must not be.

    Parameters:
        killed: when the processes that were killed wrote last.
        one_step: what follows a call is sent in the step that acknowledges it. Otherwise a death in between
            lets the call run again, and with it what it had sent.
    """
    problems = []
    ids: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    begins: defaultdict[tuple[int, int, int], list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: line.when):
        if line.what == "begin":
            ids[line.seed, line.number].add(line.id)
            begins[line.seed, line.number, line.retries].append(line)
    problems += [
        f"shape {seed}: {number} had the ids {found}"
        for (seed, number), found in ids.items()
        if len(found) > 1
    ]
    for seed, shape in shapes.items():
        expected = shape.expectation()[1]
        found = Counter(number for one, number, _ in begins if one == seed)
        spared = shape.unjudged(expected)
        found = Counter({number: count for number, count in found.items() if number not in spared})
        if found != expected:
            problems.append(
                f"shape {seed} ran {dict(found - expected)} more, and not {dict(expected - found)}"
            )
        problems += _second_runs(seed, shape, begins, killed, one_step)
    return problems


def _second_runs(
    seed: int,
    shape: Shape,
    begins: dict[tuple[int, int, int], list[Line]],
    killed: dict[int, float],
    one_step: bool,
) -> list[str]:
    """The second runs within a workflow that no death explains."""
    bodies: set[int] = set()
    shape.after_bodies(bodies)
    own = [runs for (one, _, _), runs in begins.items() if one == seed]
    again = [(before, run) for runs in own for before, run in pairwise(runs)]
    after_deaths = [run.when for before, run in again if killed.get(before.pid, run.when + 1.0) <= run.when]
    problems = []
    for before, run in again:
        if killed.get(before.pid, run.when + 1.0) <= run.when:
            continue
        # Who sends a body may die in between: its id is fixed, but it is sent once more.
        if run.number % ERRBACKS in bodies and any(when <= run.when for when in killed.values()):
            continue
        if not one_step and any(when < run.when for when in after_deaths):
            continue
        problems.append(f"shape {seed}: {run.number} ran again though {before.pid} was alive")
    return problems


def servers(broker: str, directory: Path) -> tuple[str, str]:
    """Where messages and results are."""
    if broker == "sqlite":
        return (f"sqlite:///{directory}/greenq.db",) * 2
    url = shared_redis().empty()
    return (shared_rabbit().empty() if broker == "rabbitmq" else url), url


@pytest.mark.parametrize("broker", ["redis", "sqlite", "rabbitmq"])
def test_killed_workers_change_nothing_of_what_workflows_come_to(broker: str, tmp_path: Path) -> None:
    scene = Scene(*servers(broker, tmp_path), tmp_path)
    shapes = {seed: make(seed) for seed in range(SHAPES)}
    total = sum(shape.expectation()[1].total() for shape in shapes.values())
    results = {}
    try:
        for seed, shape in shapes.items():
            made = shape.signature(lambda call, seed=seed: killed_tasks.signature(scene.app, call, seed))  # type: ignore[misc]
            results[seed] = made.apply_async()
        for number in range(KILLS):
            share = total * number // (KILLS + 1)
            until(lambda share=share: len(scene.lines()) // 2 >= share, "some of the work", PATIENCE)  # type: ignore[misc]
            until(scene.kill_one, "a process that runs a task", PATIENCE)
        for seed, result in results.items():
            found = result.get(timeout=PATIENCE, propagate=False)
            found = type(found).__name__ if isinstance(found, Exception) else found
            assert found == shapes[seed].expectation()[0], f"shape {seed}: {shapes[seed]}"
        until(scene.empty, "the end of all that failures left to be done", PATIENCE)
    finally:
        scene.close()
    assert judge(scene.lines(), scene.killed, shapes, one_step=broker != "rabbitmq") == []
    assert len(scene.killed) == KILLS


CHAIN = Shape("chain", parts=[Shape("call", 1), Shape("failing", 2, "sent")])


def ledger(*runs: tuple[float, int, int, str]) -> list[Line]:
    """Lines of begins: when, in which process, which call, under which id."""
    return [Line("begin", when, pid, 0, number, 0, id) for when, pid, number, id in runs]


WHOLE = ((1.0, 10, 1, "a"), (2.0, 10, 2, "b"), (3.0, 10, 2 + ERRBACKS, "c"))


def test_the_judge_takes_a_second_run_after_a_death() -> None:
    assert judge(ledger(*WHOLE), {}, {0: CHAIN}) == []
    assert judge(ledger(*WHOLE, (4.0, 11, 2, "b")), {10: 3.5}, {0: CHAIN}) == []


def test_the_judge_sees_a_second_run_without_a_death() -> None:
    [problem] = judge(ledger(*WHOLE, (4.0, 11, 2, "b")), {10: 4.5}, {0: CHAIN})
    assert "ran again" in problem


def test_the_judge_takes_another_run_of_what_a_call_sent_that_ran_again() -> None:
    again = ledger(*WHOLE, (4.0, 11, 1, "a"), (5.0, 11, 2, "b"))
    assert judge(again, {10: 3.5}, {0: CHAIN}, one_step=False) == []
    alive = ledger((1.0, 10, 1, "a"), *((when, 12, 2, "b") for when in (2.0, 5.0)), (4.0, 11, 1, "a"))
    [problem] = judge([*alive, *ledger(WHOLE[2])], {10: 3.5}, {0: CHAIN})
    assert "2 ran again" in problem
    assert judge([*alive, *ledger(WHOLE[2])], {10: 3.5}, {0: CHAIN}, one_step=False) == []


def test_the_judge_sees_another_id() -> None:
    problems = judge(ledger(*WHOLE, (4.0, 11, 2 + ERRBACKS, "d")), {10: 3.5}, {0: CHAIN})
    assert any("had the ids" in problem for problem in problems)


def test_the_judge_sees_what_did_not_run() -> None:
    [problem] = judge(ledger(*WHOLE[:2]), {}, {0: CHAIN})
    assert f"not {{{2 + ERRBACKS}: 1}}" in problem
