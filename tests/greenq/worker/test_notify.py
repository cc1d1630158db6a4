"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import configparser
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.config.schema import Settings
from greenq.worker.supervision.child import GRACE
from greenq.worker.supervision.handover import EXIT_MISTAKE
from greenq.worker.supervision.notify import Notify
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

UNIT = Path(__file__).parents[3] / "conf" / "systemd" / "greenq.service"


class Manager:
    """Listens as systemd does.

    Parameters:
        address: a path, or with a null first, an abstract name.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(PATIENCE)
        self.heard: list[str] = []

    def hear(self, what: str) -> str:
        """The next message that has a line which begins so."""
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append(message)
            if any(line.startswith(what) for line in message.splitlines()):
                return message

    def silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.heard.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def test_a_command_tells_that_it_is_up_reloading_stopping_and_alive(shop: Shop, manager: Manager) -> None:
    address = str(manager.socket.getsockname())
    worker = shop.worker("-c", "5", ready=False, env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"})
    assert manager.hear("READY=1") == "READY=1\nSTATUS=1 of 1 workers up"
    manager.hear("WATCHDOG=1")
    manager.hear("WATCHDOG=1")
    before = time.monotonic_ns() // 1000
    worker.signal(signal.SIGHUP)
    lines = manager.hear("RELOADING=1").splitlines()
    stamp = next(line.partition("=")[2] for line in lines if line.startswith("MONOTONIC_USEC="))
    assert before <= int(stamp) <= time.monotonic_ns() // 1000
    manager.hear("READY=1")
    worker.signal(signal.SIGTERM)
    assert "EXTEND_TIMEOUT_USEC=40000000" in manager.hear("STOPPING=1")
    assert worker.wait() == 0


def test_readiness_waits_for_every_process(shop: Shop, manager: Manager) -> None:
    shop.worker(
        "-c", "5", "--processes", "2", "-n", "w%i@%h", ready=False,
        env={"NOTIFY_SOCKET": str(manager.socket.getsockname())},
    )  # fmt: skip
    assert manager.hear("READY=1").endswith("2 of 2 workers up")


def test_a_task_can_not_speak_for_the_command(shop: Shop, manager: Manager) -> None:
    shop.worker("-c", "5", env={"NOTIFY_SOCKET": str(manager.socket.getsockname())})
    assert shop.send("environment", "NOTIFY_SOCKET").get(timeout=PATIENCE) is None


def test_a_frozen_supervisor_is_not_alive(shop: Shop, manager: Manager) -> None:
    worker = shop.worker(
        "-c", "5", env={"NOTIFY_SOCKET": str(manager.socket.getsockname()), "WATCHDOG_USEC": "100000"}
    )
    manager.hear("WATCHDOG=1")
    worker.signal(signal.SIGSTOP)
    until(lambda: "T" in Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2])
    until(manager.silent)
    heard = len(manager.heard)
    time.sleep(0.3)
    assert manager.silent()
    assert len(manager.heard) == heard
    worker.signal(signal.SIGCONT)
    manager.hear("WATCHDOG=1")


def test_an_abstract_socket_is_found() -> None:
    name = f"greenq-{os.getpid()}-{time.monotonic_ns()}"
    manager = Manager("\0" + name)
    notify = Notify({"NOTIFY_SOCKET": "@" + name})
    notify.ready("all well")
    assert manager.hear("READY=1") == "READY=1\nSTATUS=all well"
    notify.close()
    manager.socket.close()


class TestWhatIsSaid:
    def test_nothing_is_said_twice(self, manager: Manager) -> None:
        notify = Notify({"NOTIFY_SOCKET": str(manager.socket.getsockname())})
        for _ in range(3):
            notify.ready("1 of 1")
        notify.ready("0 of 1")
        notify.close()
        assert manager.hear("STATUS=0 of 1") == "STATUS=0 of 1"
        assert manager.heard == ["READY=1\nSTATUS=1 of 1", "STATUS=0 of 1"]

    def test_what_could_not_be_said_is_said_again(self, tmp_path: Path) -> None:
        notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "later")})
        notify.ready("1 of 1")
        manager = Manager(str(tmp_path / "later"))
        notify.ready("1 of 1")
        assert manager.hear("READY=1")
        notify.close()
        manager.socket.close()

    @pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9"}])
    def test_without_a_socket_that_we_know_nothing_happens(self, environ: dict[str, str]) -> None:
        notify = Notify({**environ, "WATCHDOG_USEC": "1000000"})
        notify.ready("1 of 1")
        notify.beat()
        assert notify.due == []
        notify.close()

    @pytest.mark.parametrize(
        ("environ", "beats"),
        [
            ({"WATCHDOG_USEC": "30000000"}, True),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, True),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, False),
            ({"WATCHDOG_USEC": "soon"}, False),
            ({}, False),
        ],
    )
    def test_signs_of_life_are_sent_to_whom_they_were_asked_of(
        self, manager: Manager, environ: dict[str, str], beats: bool
    ) -> None:
        notify = Notify({"NOTIFY_SOCKET": str(manager.socket.getsockname()), **environ})
        before = time.monotonic()
        notify.beat()
        notify.beat()
        assert len(notify.due) == beats
        assert manager.silent() is not beats
        assert manager.heard == ["WATCHDOG=1"] * beats
        if beats:
            assert before + 14 < notify.due[0] < time.monotonic() + 16, "half of what systemd waits"
        notify.close()


def test_the_unit_that_we_ship_gives_a_worker_the_time_that_it_needs() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed", "else a worker gets each signal twice"
    assert int(service["TimeoutStopSec"]) > Settings().worker.shutdown_timeout + GRACE
    assert service["RestartPreventExitStatus"] == str(EXIT_MISTAKE)
    assert " worker " in service["ExecStart"]
