"""What every command has in common: help, mistakes of use, how it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenq import GreenQ
from greenq.cli import ending
from greenq.cli.root import COMMANDS, root
from greenq.message import Result
from tests.greenq.cli.command import SCRIPT, environment, greenq

LIGHT = """
import sys
before = set(sys.modules)
import greenq.cli
from greenq.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, *sorted(set(sys.modules) - before), file=sys.stderr)
"""
HEAVY = {"gevent", "eventlet", "kombu", "logging", "socket", "sqlite3", "asyncio", "yaml", "msgpack"}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["completion", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", LIGHT, *arguments],
        cwd=tmp_path,
        env=environment(PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    code, *modules = done.stderr.split()
    assert code == "0", done.stderr
    allowed = {"socket"} if "--version" in arguments else set()  # reading the package's metadata does
    assert {module.partition(".")[0] for module in modules} & HEAVY - allowed == set()
    assert [module for module in modules if module.startswith("pools")] == []


def test_the_worker_command_imports_no_application_before_it_becomes_the_supervisor(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIGHT, "worker", "-A", "no_such_module"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    *said, last = done.stderr.splitlines()
    assert "there is no module no_such_module" in said[0]
    assert {"greenq.locating", "greenq.config"} <= set(last.split())
    assert {"greenq.app", "greenq.worker.worker", "gevent"} & set(last.split()) == set()


def test_importing_the_package_imports_no_click_and_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import greenq.cli; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    modules = set(done.stdout.split())
    assert "greenq.cli" in modules, done.stderr
    assert modules & {"click", "threading", "_thread", "socket", "yaml", "kombu", "gevent"} == set()


def test_the_table_of_commands_says_what_each_command_says() -> None:
    for name, (_, line) in COMMANDS.items():
        command = root.get_command(root.make_context("greenq", ["--help"], resilient_parsing=True), name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(limit=200).rstrip(".") == line.rstrip("."), name


def test_alone_it_shows_its_help(tmp_path: Path) -> None:
    done = greenq(cwd=tmp_path)
    assert done.returncode == 0
    assert "Commands:" in done.stdout


def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*SCRIPT, "--help"],
        cwd=tmp_path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(writer)
    assert done.returncode == ending.BROKEN_PIPE
    assert done.stderr == b""


def test_output_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*SCRIPT, "config", "schema"], cwd=tmp_path, env=environment(),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_without_standard_streams_a_command_does_its_work_in_silence(tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *SCRIPT, "config", "init", "--yes"]
    done = subprocess.run(closed[:-1], cwd=tmp_path, env=environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert (tmp_path / "greenq.yaml").exists()


def test_a_value_that_the_terminal_cannot_show_is_written_out(tmp_path: Path) -> None:
    app = GreenQ(results=f"sqlite:///{tmp_path}/greenq.db")
    odd = Result("1", "SUCCESS", "\ud800 é")
    assert app.results is not None
    app.results.encode(odd)
    app.results.put([odd], 30)
    app.close()
    done = greenq("result", "1", cwd=tmp_path, env={"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == '"\\ud800 é"\n'


def test_ctrl_c_ends_a_wait_quietly(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SCRIPT, "result", "3f2c", "--wait"],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while b"waiting for 3f2c (PENDING)" not in shown:
        shown += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == ending.INTERRUPTED
    with contextlib.suppress(OSError):  # so a terminal says that nobody holds its other end
        while more := os.read(ours, 1000):
            shown += more
    os.close(ours)
    assert b"Traceback" not in shown
    assert b"KeyboardInterrupt" not in shown


def test_a_bug_shows_a_traceback_and_says_that_it_is_one(tmp_path: Path) -> None:
    code = (
        "import greenq.cli.root as r; r.COMMANDS['worker'] = ('no.such.module', ''); "
        "from greenq.cli import main; main(['worker'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == ending.BUG
    assert "Traceback" in done.stderr
    assert "a bug in greenq" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    tmp_path: Path, more: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*SCRIPT, "wrker"],
        cwd=tmp_path,
        env=environment(**{"TERM": "xterm", **more}),
        stdin=theirs,
        stderr=theirs,
        stdout=theirs,
        timeout=60,
    )
    os.close(theirs)
    text = os.read(ours, 10_000)
    os.close(ours)
    assert done.returncode == 2
    assert (b"\033[" in text) is coloured
