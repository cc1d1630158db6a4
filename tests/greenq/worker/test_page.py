"""A page holds what one process writes and another reads, and survives whatever is written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from greenq.worker.page import CODES, MARKS, STACK_SIGNAL, TEXT, Block, Page, TaskCode
from tests.waiting import until


@pytest.fixture
def pages() -> Iterator[tuple[Page, Page]]:
    """The supervisor's and the worker's."""
    with Page() as ours, Page(os.dup(ours.fd)) as theirs:
        yield ours, theirs


def test_signs_of_life_are_seen_by_the_other_process(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    assert (ours.beat, ours.breathed, ours.ready) == (0.0, 0.0, False)
    theirs.beat, theirs.breathed, theirs.ready = 12.5, 11.25, True
    assert (ours.beat, ours.breathed, ours.ready) == (12.5, 11.25, True)


def test_what_blocks_is_told_and_taken_back(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    assert ours.block is None
    block = Block("an id", "shop.näme", 3.5, 9.0, 5.5)
    theirs.block = block
    assert ours.block == block
    theirs.block = None
    assert ours.block is None


def test_a_task_whose_id_does_not_fit_is_named_and_has_no_deadline(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    theirs.block = Block("x" * (TEXT + 1), "n" * 2 * TEXT, 3.5, 9.0, 5.5)
    assert ours.block == Block("", "n" * TEXT, 3.5, 0.0, 5.5)


def test_a_mark_tells_which_call_runs_under_it(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    assert ours.marked(0) is None
    theirs.list_tasks([TaskCode("shop.a", "/a.py", "a"), TaskCode("shop.b", "/b.py", "b")])
    theirs.mark(MARKS - 1, 100.0, 2.5, 1, "ïd".encode())
    assert ours.marked(MARKS - 1) == Block("ïd", "shop.b", 100.0, 102.5, 2.5)
    assert ours.marked(MARKS) is None
    assert ours.tasks()[0] == TaskCode("shop.a", "/a.py", "a")


def test_more_tasks_than_there_is_room_for_are_not_all_told(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    codes = [TaskCode(f"task{n}", "f" * 1000, "g") for n in range(2 * CODES // 1000)]
    theirs.list_tasks(codes)
    assert ours.tasks() == codes[: len(ours.tasks())]
    assert ours.tasks()


def test_a_lone_surrogate_in_an_id_arrives_as_it_is(pages: tuple[Page, Page]) -> None:
    ours, theirs = pages
    theirs.block = Block("\ud800", "shop.a", 1.0)
    assert ours.block == Block("\ud800", "shop.a", 1.0)


def test_a_stack_arrives_though_no_python_code_runs(pages: tuple[Page, Page]) -> None:
    ours, _ = pages
    code = (
        "import re, sys; from greenq.worker.page import Page, STACK_SIGNAL; page = Page(int(sys.argv[1]))\n"
        "def disaster():\n    page.beat = 1.0\n    re.match('(a+)+$', 'a' * 64 + 'b')\n"
        "page.show_stack_at(STACK_SIGNAL); disaster()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(ours.fd)], pass_fds=[ours.fd])
    try:
        until(lambda: ours.beat)
        for _ in range(2):
            ours.clear_stack()
            assert ours.stack() == ""
            time.sleep(0.05)
            process.send_signal(STACK_SIGNAL)
            until(lambda: "in <module>" in ours.stack())
            assert ours.stack().count("in disaster") == 1
    finally:
        process.kill()
        process.wait()


def test_closing_twice_is_harmless() -> None:
    page = Page()
    page.close()
    page.close()


def test_nothing_else_is_known_to_use_the_signal() -> None:
    assert signal.getsignal(STACK_SIGNAL) is signal.SIG_DFL
