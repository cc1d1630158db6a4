"""Steps of the wall clock, of workers and brokers alike, while the work goes on: nothing is run twice."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from greenq import Call
from tests.chaos.checker import Report
from tests.chaos.commands import Command
from tests.chaos.kills import Progress, finish
from tests.chaos.ledger import Ledger
from tests.chaos.producer import Producer
from tests.chaos.sites import open_site

__all__ = ["shifted", "step_clocks"]

LEASE = 2.0
STEPS = (3600, -3600, 7200, 0)
"""Seconds that the clock is set to, beside the real time, one after the other."""
SOURCE = Path(__file__).with_name("shifted_clock.c")


def step_clocks(broker: str, pool: str, times: int) -> Report:
    """Set the clock again and again under two workers whose tasks outlast their leases."""
    directory = Path(tempfile.mkdtemp(prefix="greenq-clock-"))
    with shifted(directory) as clock:
        site = open_site(broker, own=True)
        app = site.app()
        ledger = Ledger(site.ledger)
        progress = Progress(ledger)
        chance = random.Random(1)
        settings = {"worker.lease": f"{LEASE}s"}
        commands = [Command(site, pool, settings=settings, name=f"w{n}") for n in range(2)]
    try:
        for command in commands:
            command.wait_ready()
        for number in range(times):
            producer = Producer(
                app, ledger, 8,
                lambda id: Call("chaos.nap", (chance.uniform(2, 3) * LEASE,), options={"task_id": id}),
                8, int, name=f"{number}-",
            )  # fmt: skip
            producer.start()
            assert producer.finished.wait(60.0)
            clock.set(STEPS[number % len(STEPS)])
            time.sleep(LEASE)
        report = finish(app, site, progress)
        report.faults = times
        return report
    finally:
        for command in commands:
            command.close()
        app.close()
        site.close()
        shutil.rmtree(directory)


class Clock:
    """The file that tells processes what time it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack("q", 0))

    def set(self, seconds: int) -> None:
        """Let it be so many seconds later than it is."""
        with self.path.open("r+b") as file:
            file.write(struct.pack("q", seconds))


@contextlib.contextmanager
def shifted(directory: Path) -> Iterator[Clock]:
    """Let what is started meanwhile go by a clock of ours."""
    clock = Clock(directory / "clock")
    library = directory / "shifted_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    before = dict(os.environ)
    os.environ |= {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(clock.path)}
    try:
        yield clock
    finally:
        os.environ.clear()
        os.environ.update(before)
