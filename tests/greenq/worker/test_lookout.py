"""The supervisor ends a process only for what lets nothing else run, and only past its hard limit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import greenq.worker.supervision.lookout as lookout
from greenq.worker.cputime import ThreadTime, thread_time, thread_times, wakings
from greenq.worker.page import Block, Page
from greenq.worker.supervision.lookout import Lookout, Watch

NOW = 1000.0


class Process:
    """A child as far as the lookout needs one."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pid = 12345
        self.process = "name"
        self.killed_at: float | None = None

    def kill(self) -> None:
        self.killed_at = NOW


class Recording:
    """An undertaking whose result the test decides."""

    def __init__(self, spec: dict[str, object], block: Block) -> None:
        self.spec = spec
        self.block = block
        self.begun = False
        self.closed = False
        self.result: bool | None = None
        recordings.append(self)

    def begin(self) -> None:
        self.begun = True

    def recorded(self) -> bool | None:
        return self.result

    def close(self) -> None:
        self.closed = True


recordings: list[Recording] = []


class Machine:
    """What the kernel would tell of the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.killed: list[tuple[int, int]] = []
        self.state = "R"
        self.used = 0.0
        self.woken = 0
        monkeypatch.setattr(lookout, "Undertaking", Recording)
        monkeypatch.setattr(lookout, "say", self.said.append)
        monkeypatch.setattr(lookout, "thread_times", lambda pid: {pid: ThreadTime(self.state, self.used)})
        monkeypatch.setattr(lookout, "wakings", lambda thread, pid: self.woken)
        monkeypatch.setattr(os, "kill", lambda pid, signum: self.killed.append((pid, signum)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    recordings.clear()
    return Machine(monkeypatch)


@pytest.fixture
def process() -> Iterator[Process]:
    with Page() as page:
        page.beat = NOW
        yield Process(page)


def look(watch: Watch, process: Process, at: float, beats: bool = True) -> None:
    if beats:
        process.page.beat = NOW + at
    watch.look(NOW + at)


def test_the_end_is_recorded_first_and_the_process_killed_then(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {"app": "shop"})
    process.page.block = Block("an id", "shop.endless", NOW, NOW + 3.0, 3.0)
    look(watch, process, 1.9)
    assert recordings == []
    look(watch, process, 2.1)
    (recording,) = recordings
    assert recording.spec == {"app": "shop", "index": 0, "holder": "name"}
    assert not recording.begun
    look(watch, process, 3.4)
    assert not recording.begun
    look(watch, process, 3.5)
    assert recording.begun
    look(watch, process, 3.6)
    assert process.killed_at is None
    recording.result = True
    look(watch, process, 3.7)
    assert process.killed_at is not None
    assert "shop.endless[an id] is over its hard limit of 3 s" in machine.said[-1]
    assert recordings == [recording]


def test_a_process_whose_task_has_ended_meanwhile_stays(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {})
    process.page.block = Block("an id", "shop.endless", NOW, NOW + 3.0, 3.0)
    look(watch, process, 3.5)
    process.page.block = None
    recordings[0].result = True
    look(watch, process, 4.0)
    assert process.killed_at is None
    assert recordings[0].closed
    assert machine.killed == []


def test_a_task_that_ends_before_its_limit_is_let_be(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {})
    process.page.block = Block("an id", "shop.endless", NOW, NOW + 3.0, 3.0)
    look(watch, process, 2.5)
    process.page.block = None
    look(watch, process, 2.7)
    assert recordings[0].closed
    assert not recordings[0].begun


def test_a_death_that_could_not_be_recorded_is_charged(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {})
    process.page.block = Block("an id", "shop.endless", NOW, NOW + 3.0, 3.0)
    look(watch, process, 3.5)
    recordings[0].result = False
    look(watch, process, 4.0)
    assert process.killed_at is None, "that would not be charged"
    assert machine.killed == [(process.pid, signal.SIGKILL)]
    assert "could not be recorded" in machine.said[-1]


def test_a_coroutine_that_goes_on_after_its_end_costs_the_process(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {})
    process.page.block = Block("", "", NOW, NOW)
    look(watch, process, 1.0)
    assert process.killed_at is not None
    assert recordings == []


def test_what_has_no_hard_limit_goes_on(machine: Machine, process: Process) -> None:
    watch = Watch(0, process, {})
    process.page.block = Block("an id", "shop.spin", NOW)
    look(watch, process, 1000.0)
    assert recordings == []
    assert process.killed_at is None


@pytest.mark.parametrize("state", ["T", "t", "R", "S"])
def test_a_process_that_is_stopped_or_gets_no_processor_is_not_blamed(
    machine: Machine, process: Process, state: str
) -> None:
    machine.state = state
    watch = Watch(0, process, {})
    for tenth in range(100):
        look(watch, process, tenth / 10, beats=False)
    assert machine.said == []
    assert machine.killed == []


def test_what_wakes_for_the_lock_and_never_gets_it_is_asked_for_its_stack(
    machine: Machine, process: Process
) -> None:
    watch = Watch(0, process, {})
    for tenth in range(12):
        machine.woken += 15
        machine.used += 0.1
        look(watch, process, tenth / 10, beats=False)
        if machine.killed:
            break
    assert machine.killed == [(process.pid, lookout.STACK_SIGNAL)]
    assert tenth < 10, "it is named within a second"


def test_who_starts_is_waited_for_and_not_asked_before_it_beats(machine: Machine, process: Process) -> None:
    class Place:
        index = 0

        def children(self):
            return [process]

    process.page.beat = 0.0
    watch = Lookout({})
    watch.look([])
    assert watch.due is None
    watch.look([Place()])
    assert watch.due is not None, "what it runs first can keep it from telling that it is up"
    assert machine.killed == []


def test_the_kernel_tells_of_threads() -> None:
    me = thread_time(os.getpid())
    assert me is not None
    assert me.used >= 0.0
    assert os.getpid() in thread_times(os.getpid())
    assert wakings(os.getpid(), os.getpid()) >= 0
    gone = 2**30
    assert thread_time(gone) is None
    assert thread_times(gone) == {}
    assert wakings(gone, gone) == 0
