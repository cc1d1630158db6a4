"""``greenq worker`` as a process of its own, for the time of a ``with`` block."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["WorkerDied", "WorkerProcess"]

_PR_SET_PDEATHSIG = 1
_LAST_LINES = 15


class WorkerDied(Exception):
    """The worker ended by itself; the message has its last lines."""


class WorkerProcess:
    """A worker with a configuration file.

    Parameters:
        options: those of ``greenq worker``.
        config: its greenq.yaml.
        log: where its output goes.
    """

    def __init__(self, options: Sequence[str], config: Path, log: Path) -> None:
        self._options = options
        self._config = config
        self._log = log

    def __enter__(self) -> Self:
        root = Path(__file__).parents[2]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", *self._options, "--config", str(self._config)],
                cwd=self._config.parent,
                env=os.environ | {"PYTHONPATH": str(root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return self

    def refuse_dead(self) -> None:
        """Do nothing while the worker runs.

        Raises:
            WorkerDied: it does not.
        """
        code = self._process.poll()
        if code is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            raise WorkerDied("\n".join([f"the worker ended with exit code {code}; its last lines:", *lines]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)


def _die_with_parent() -> None:
    """Without this a worker would outlive a linkcheck that was killed, and wait for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
