"""A real RabbitMQ for tests: private, on free ports, stopped by its process id."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

__all__ = ["RabbitServer", "shared_rabbit", "start_rabbitmq"]

PATIENCE = 120.0
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Not the wrappers in /usr/sbin: they change the user."""
AT_ONCE = 20
"""Virtual hosts that are made in one go: each call of rabbitmqctl starts a virtual machine."""
_stopped_at_exit: list[RabbitServer] = []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RabbitServer:
    """One server, with a directory and a port mapper of its own.

    Parameters:
        config: lines of rabbitmq.conf.
        plugins: to be enabled.
    """

    def __init__(self, *config: str, plugins: tuple[str, ...] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="greenq-rabbitmq-"))
        self.port = _free_port()
        self._epmd = _free_port()
        self._distribution = _free_port()
        self.node = f"greenq{self.port}@localhost"
        (self.directory / "plugins").write_text(f"[{', '.join(plugins)}].\n")
        (self.directory / "rabbitmq.conf").write_text(
            "\n".join(["vm_memory_high_watermark.absolute = 4GB", "disk_free_limit.absolute = 1MB", *config])
            + "\n"
        )
        self._made = 0
        self._empty: list[str] = []
        try:
            self.start()
        except BaseException:
            # One that did not answer in time would run on, and slow those that start after it.
            self.kill()
            self.stop()
            raise
        _stopped_at_exit.append(self)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        here = str(self.directory)
        return os.environ | {
            "HOME": here,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_CRASH_DUMP": f"{here}/erl_crash.dump",
        }

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.directory / "output").open("a") as output:
            self.process = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._answers():
                return
            assert self.process.poll() is None, (self.directory / "output").read_text()
            assert time.monotonic() < deadline, "the RabbitMQ server does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5.0) as probe:
                probe.settimeout(5.0)
                probe.sendall(b"AMQP\0\0\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False

    def control(self, *command: str) -> str:
        """Carry out one command of rabbitmqctl; what it prints."""
        return subprocess.run(
            [PROGRAMS / "rabbitmqctl", "-q", "-n", self.node, *command],
            env=self.environment, check=True, capture_output=True, text=True, timeout=PATIENCE,
        ).stdout  # fmt: skip

    def empty(self) -> str:
        """The address of a virtual host that no test has used."""
        if not self._empty:
            names = [f"v{self._made + number}" for number in range(AT_ONCE)]
            self._made += AT_ONCE
            listed = ", ".join(f'<<"{name}">>' for name in names)
            self.control(
                "eval",
                f"[begin rabbit_vhost:add(V, <<>>), rabbit_auth_backend_internal:set_permissions("
                f'<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>) end || V <- [{listed}]].',
            )
            self._empty = names
        return f"{self.url}/{self._empty.pop(0)}"

    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.control("list_connections", "pid").split("\n")) - 2

    def cut(self) -> None:
        """End every connection, as an operator would."""
        self.control("close_all_connections", "--global", "tests")

    def kill(self) -> None:
        """End it without warning."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it and remove its directory."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20.0)
            except subprocess.TimeoutExpired:
                self.kill()
        subprocess.run(
            ["epmd", "-port", str(self._epmd), "-kill"],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(self.directory, ignore_errors=True)


def start_rabbitmq(*config: str, plugins: tuple[str, ...] = ()) -> RabbitServer:
    """Start a server that the caller stops; it is stopped at the end of the tests at the latest."""
    return RabbitServer(*config, plugins=plugins)


@cache
def shared_rabbit() -> RabbitServer:
    """The server that all tests share which need no special one; each test uses `empty` virtual hosts."""
    return RabbitServer()


def _stop_all() -> None:
    for server in _stopped_at_exit:
        server.stop()


atexit.register(_stop_all)
