"""A soak: millions of tasks of mixed load and hundreds of recycled processes, and no memory lost on the way.

Run it as ``python -m tests.chaos.soak --broker redis --pool gevent --tasks 5000000 --recycles 500``; it exits
with 1 if a task was lost or run twice, or a process grew by more than it may.
"""

from __future__ import annotations

import argparse
import mmap
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator

from greenq import Call, GreenQ
from tests.chaos.commands import CONCURRENCY, Command
from tests.chaos.sites import BROKERS, Site, open_site
from tests.chaos.soak_tasks import EVERY

__all__ = ["Soak", "main"]

BATCH = 1000
AHEAD = 20_000
"""Calls that may wait: enough to keep the workers busy, and little enough to keep the brokers small."""
WARM = 50_000
"""Tasks until caches are full and pools have their size; growth counts after them."""
MOST = 1024.0
"""Bytes by which a process may grow for each thousand tasks."""
LOOK = 0.25
STALLED = 120.0


class Soak:
    """Sends calls, follows them in a file of one byte each, and looks at the workers' memory.

    Parameters:
        recycles: how often a worker process is to be replaced by a new one, in the first half; in the second
            half they live to the end.
    """

    def __init__(self, broker: str, pool: str, tasks: int, recycles: int, processes: int = 2) -> None:
        self.site: Site = open_site(broker)
        self._app: GreenQ = self.site.app()
        self._pool = pool
        self._tasks = tasks
        self._recycles = recycles
        self._processes = processes
        self._marks = self.site.path / "marks"
        self._marks.write_bytes(bytes(tasks))
        self._random = random.Random(1)
        self._sent = 0
        self._code: int | None = 0
        self._command: Command | None = None

    def run(self) -> list[str]:
        """Run it to its end; what was wrong."""
        with self._marks.open("r+b") as file, mmap.mmap(file.fileno(), self._tasks) as marks:
            calls = self._calls()
            half = self._tasks // 2
            self._phase(marks, calls, half, half // (self._recycles + 1))
            # Once it is warm: short lives end before that.
            self._phase(marks, calls, self._tasks, None)
            return self._judge(bytes(marks))

    def _phase(
        self, marks: mmap.mmap, calls: Iterator[list[Call[object]]], until: int, share: int | None
    ) -> None:
        """Work until so many are done, with processes that live shortly if there is to be one for each share.

        They work on while they are replaced, so that only what is sent for each of them sets the pace.
        """
        settings = {"worker.lease": "5s", "log.level": "error"}
        if share is not None:
            settings["worker.max_tasks"] = str(min(EVERY, share))
        memory = self.site.path / ("lives" if share is not None else "memory")
        memory.touch()
        self._command = Command(
            self.site, self._pool, processes=self._processes, settings=settings,
            app="tests.chaos.soak_tasks",
            environment={"CHAOS_MARKS": str(self._marks), "CHAOS_MEMORY": str(memory)},
        )  # fmt: skip
        moved, before, told = time.monotonic(), 0, time.monotonic()
        while (done := self._tasks - marks[:].count(0)) < until and time.monotonic() - moved < STALLED:
            if done > before:
                moved, before = time.monotonic(), done
            allowed = until
            if share is not None and (recycles := self._recycled()) < self._recycles:
                allowed = (recycles + 1) * share
            while self._sent < allowed and self._sent - done < AHEAD:
                self._sent += len(self._app.send_many(next(calls)))
            if time.monotonic() - told > 60.0:
                print(f"{done} of {self._tasks} done", flush=True)
                told = time.monotonic()
            time.sleep(LOOK)
        code, _ = self._command.stop(60.0)
        self._code = self._code or code

    def _calls(self) -> Iterator[list[Call[object]]]:
        chance = self._random
        for first in range(0, self._tasks, BATCH):
            calls = []
            for number in range(first, min(first + BATCH, self._tasks)):
                kind = chance.random()
                if kind < 0.90:
                    calls.append(Call[object]("soak.quick", (number, "x" * chance.randrange(200))))
                elif kind < 0.97:
                    calls.append(Call[object]("soak.nap", (number, chance.uniform(0.001, 0.05))))
                elif kind < 0.985:
                    calls.append(Call[object]("soak.again", (number,)))
                else:
                    calls.append(Call[object]("soak.fail", (number,)))
            yield calls

    def _judge(self, marks: bytes) -> list[str]:
        lost = marks.count(0)
        twice = sum(mark > 1 for mark in marks)
        ends = [samples[-1][1] for samples in self._samples("lives")]
        some = max(1, len(ends) // 10)
        first, last = (statistics.mean(part) / 1024 for part in (ends[:some], ends[-some:]))
        growth = self._growth()
        recycles = self._recycled()
        print(f"{self._tasks} tasks, lost {lost}, run twice {twice}")
        print(f"{recycles} recycled, of {first:.0f} KiB at the end at first and of {last:.0f} KiB at last")
        print(f"growth of long lives: {growth:.0f} bytes per 1,000 tasks", flush=True)
        problems = [f"ended with {self._code}"] if self._code != 0 else []
        problems += [f"lost {lost}"] if lost else []
        problems += [f"run twice {twice}"] if twice else []
        problems += [f"{recycles} recycled of {self._recycles}"] if recycles < self._recycles else []
        problems += [f"grew by {growth:.0f} bytes per 1,000 tasks"] if growth > MOST else []
        return problems

    def _recycled(self) -> int:
        """How many worker processes there have been in the first half that took the place of another."""
        lines = (self.site.path / "lives").read_text().splitlines()
        return sum(line.split()[1] == "0" for line in lines) - self._processes

    def _samples(self, name: str) -> list[list[tuple[int, int]]]:
        """For each process how many tasks it had done and its bytes, at several times of its life."""
        lives: dict[str, list[tuple[int, int]]] = {}
        for line in (self.site.path / name).read_text().splitlines():
            pid, done, resident = line.split()
            lives.setdefault(pid, []).append((int(done), int(resident)))
        return list(lives.values())

    def _growth(self) -> float:
        """Bytes per thousand tasks by which processes grew once they were warm."""
        slopes = []
        for samples in self._samples("memory"):
            warm = [sample for sample in samples if sample[0] > WARM]
            if len(warm) >= 3:
                slope, _ = statistics.linear_regression(
                    [done for done, _ in warm], [resident for _, resident in warm]
                )
                slopes.append(slope * 1000)
        return statistics.mean(slopes) if slopes else 0.0

    def close(self) -> None:
        """End everything."""
        if self._command is not None:
            self._command.close()
        self._app.close()
        self.site.close()


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, default="redis")
    parser.add_argument("--pool", choices=list(CONCURRENCY), default="gevent")
    parser.add_argument("--tasks", type=int, default=5_000_000)
    parser.add_argument("--recycles", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    soak = Soak(given.broker, given.pool, given.tasks, given.recycles, given.processes)
    try:
        problems = soak.run()
    finally:
        soak.close()
    for problem in problems:
        print(f"    {problem}", flush=True)
    return int(bool(problems))


if __name__ == "__main__":
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
