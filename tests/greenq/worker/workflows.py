"""The application of workers that die in the middle of a workflow; the environment says when."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from greenq import GreenQ
from greenq.results.base import ResultStore
from greenq.worker.chordends import ChordEnds

app = GreenQ("workflows")
HERE = Path.cwd()

if os.environ.get("WORKFLOWS_DIE") == "before the body":
    ResultStore.claim = 1.0
    end = ChordEnds.end

    def die_first(self: ChordEnds, chord: Any) -> None:
        try:
            (HERE / "died").touch(exist_ok=False)
        except FileExistsError:
            return end(self, chord)
        os._exit(9)

    ChordEnds.end = die_first  # type: ignore[method-assign]


def note(line: str) -> None:
    with (HERE / "ledger").open("a") as ledger:
        ledger.write(line + "\n")


@app.task(name="workflows.member")
def member(number: int, pause: float = 0.0) -> int:
    note(f"member {number}")
    time.sleep(pause)
    return number


@app.task(name="workflows.body", bind=True)
def body(self: Any, values: list[int]) -> int:
    note(f"body {self.request.id} {sum(values)} {len(values)}")
    return sum(values)
