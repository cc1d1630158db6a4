"""Programs of Node's that call tasks and run them, as tests drive them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.greenq.interop.node.packages import HERE, are_there
from tests.processes import stop
from tests.waiting import until

__all__ = ["CLIENTS", "Caller", "node_caller", "node_worker"]

CLIENTS = ("celery-node-1", "celery-node-2", "node-celery")
"""As caller.js names them; the number is the protocol's."""


class Caller:
    """A client of Node's that calls tasks of one queue.

    Parameters:
        client: which it is, of `CLIENTS`.
        process: it runs; it reads calls.
        told: the file that it writes what came of them to.
    """

    def __init__(self, client: str, process: subprocess.Popen[bytes], told: Path) -> None:
        self.client = client
        self._process = process
        self._told = told

    def calls(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """Call tasks; what came of each, in the order in which they ended.

        Parameters:
            calls: ``task``, ``args``, ``kwargs``, ``options`` (node-celery's) and ``id`` (celery-node's).
        """
        before = len(self._lines())
        assert self._process.stdin is not None
        for call in calls:
            line = json.dumps({"args": [], "kwargs": {}, **call}) + "\n"
            self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        wanted = before + len(calls)
        until(lambda: len(self._lines()) >= wanted or self._process.poll() is not None, "all answers")
        assert self._process.poll() is None, self._told.with_name("errors").read_text()
        return [json.loads(line) for line in self._lines()[before:wanted]]

    def call(self, task: str, *args: Any, options: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Call one task of those that both sides know."""
        call = {"task": f"interop.{task}", "args": args, "kwargs": kwargs, "options": options}
        [answer] = self.calls(call)
        return answer

    def _lines(self) -> list[str]:
        # What is being written at this moment has no end yet.
        return self._told.read_text().split("\n")[:-1]


@contextmanager
def _running(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    assert are_there(), "npm's packages are not there, or not those that are pinned: run `make servers`"
    with tempfile.TemporaryDirectory() as directory:
        told, errors = Path(directory) / "told", Path(directory) / "errors"
        with told.open("wb") as stream, errors.open("wb") as error_stream:
            process = subprocess.Popen(
                ["node", "--no-deprecation", str(HERE / program), *arguments],
                stdin=subprocess.PIPE, stdout=stream, stderr=error_stream,
            )  # fmt: skip
        try:
            yield process, told
        finally:
            stop(process, 20)


@contextmanager
def node_caller(client: str, broker: str, results: str, queue: str) -> Iterator[Caller]:
    """Run a client for the duration of a ``with`` block."""
    with _running("caller.js", client, broker, results, queue) as (process, told):
        yield Caller(client, process, told)


@contextmanager
def node_worker(broker: str, results: str, queue: str) -> Iterator[None]:
    """Run a worker of celery-node's for the duration of a ``with`` block."""
    with _running("worker.js", broker, results, queue) as (process, told):
        until(lambda: "ready" in told.read_text() or process.poll() is not None, "the worker's start")
        assert process.poll() is None, told.with_name("errors").read_text()
        yield
