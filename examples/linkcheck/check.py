"""Everything that one check needs, set up and taken down: files, local server, worker, ledger."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from examples.linkcheck.ledger import Ledger
from examples.linkcheck.report import Report
from examples.linkcheck.server import LocalServer
from examples.linkcheck.workerprocess import WorkerProcess

if TYPE_CHECKING:
    from examples.linkcheck.crawl import Rules

__all__ = ["CannotCheck", "Check"]


class CannotCheck(Exception):
    """The check can't begin; the message says what to do."""


class Check:
    """One check, for the time of a ``with`` block.

    Parameters:
        target: a directory of HTML pages, or an address.
        worker: the options of a ``greenq worker`` to start for it; None if workers run already, and this
            process's own configuration names their broker.
    """

    def __init__(self, target: str, worker: Sequence[str] | None) -> None:
        self._target = target
        self._worker_options = worker
        self._stack = ExitStack()
        self._directory = Path(target)
        if not self._directory.is_dir() and urlsplit(target).scheme not in ("http", "https"):
            raise CannotCheck(f"{target} is neither a directory nor an http:// or https:// address")

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _set_up(self) -> None:
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="linkcheck-")))
        self._local = self._directory.is_dir()
        self.start = self._target
        if self._local:
            self.start = self._stack.enter_context(LocalServer(self._directory)).url
        elif not urlsplit(self.start).path:
            self.start += "/"
        self.scope = urljoin(self.start, ".")
        self._worker: WorkerProcess | None = None
        if self._worker_options is not None:
            config = _write_config(scratch)
            os.environ["GREENQ_CONFIG"] = str(config)
            process = WorkerProcess(self._worker_options, config, scratch / "worker.log")
            self._worker = self._stack.enter_context(process)
        self.ledger = Ledger(scratch / "ledger.db", self.scope)
        self._stack.callback(self.ledger.close)

    def run(self, rules: Rules, each: Callable[[int, int, int], None]) -> Report:
        """Check, and report.

        Parameters:
            each: see `crawl`.
        """
        # The application reads its configuration when it is imported, and that has only just been written.
        from examples.linkcheck import crawl, tasks

        self._stack.callback(tasks.app.close)
        alive = self._worker.refuse_dead if self._worker else lambda: None
        self.ledger.add([self.start])
        crawl.crawl(self.ledger, self.scope, rules, each, alive)
        report = Report(
            self._target, list(self.ledger.dead()), self.ledger.totals(), time.monotonic() - self._began
        )
        return report.relative_to(self.start) if self._local else report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _write_config(scratch: Path) -> Path:
    """Queue and results are one SQLite file that goes when the check ends. (JSON is YAML.)"""
    url = f"sqlite:///{scratch / 'queue.db'}"
    settings = {
        "broker": {"url": url},
        "results": {"url": url, "expires": "1h"},
        "worker": {"shutdown_timeout": "5s"},
        "log": {"level": "warning"},
    }
    config = scratch / "greenq.yaml"
    config.write_text(json.dumps(settings, indent=2))
    return config
