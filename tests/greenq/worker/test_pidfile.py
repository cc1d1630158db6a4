"""The PID file names the one command that holds it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from greenq.errors import ConfigError
from greenq.worker.supervision.pidfile import PidFile
from tests.greenq.worker.conftest import Shop


def test_a_command_writes_it_and_takes_it_away_and_a_second_one_is_refused(shop: Shop) -> None:
    path = shop.path / "worker.pid"
    worker = shop.worker("-c", "5", "--pidfile", str(path))
    assert path.read_text() == f"{worker.process.pid}\n"
    second = shop.worker("-c", "5", "--pidfile", str(path), ready=False)
    assert second.wait() == 2
    assert f"held by a running worker (process {worker.process.pid})" in second.output
    assert second.output.count("\n") == 1
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not path.exists()


def test_what_a_killed_command_left_behind_is_taken_over(shop: Shop) -> None:
    path = shop.path / "worker.pid"
    killed = shop.worker("-c", "5", "--pidfile", str(path))
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert path.read_text() == f"{killed.process.pid}\n"
    worker = shop.worker("-c", "5", "--pidfile", str(path))
    assert path.read_text() == f"{worker.process.pid}\n"


def test_a_number_of_a_living_process_that_holds_no_lock_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\nand more than that\n")
    held = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        PidFile(str(path))
    held.close()
    held.close()
    assert not path.exists()
    PidFile(str(path)).close()


def test_a_file_that_was_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    first = PidFile(str(path))
    path.unlink()
    second = PidFile(str(path))
    assert path.exists()
    second.close()
    first.close()


@pytest.mark.parametrize("where", ["no/such/directory/pid", "."])
def test_a_place_that_can_not_be_written_is_named(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError, match=r"worker.pidfile: .* can't be written"):
        PidFile(str(tmp_path / where))
