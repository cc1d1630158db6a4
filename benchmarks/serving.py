"""Run a worker, and a program of the peer's own that asks it things."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.peers import Peer
from benchmarks.place import Failed, Job, Place
from benchmarks.working import working

__all__ = ["answer_of", "ask"]

ASKING = 180.0
"""Seconds that the program may take."""


def ask(peer: Peer, place: Place, question: str, job: Job, *, worker: bool = True) -> Any:
    """Start a worker if there is to be one, and give what ``python -m benchmarks.asking`` found out.

    Parameters:
        question: the name of a function in `benchmarks.asking`.

    Raises:
        Failed: either program failed.
    """
    environ = place.environ(peer, job, 20 * job.count + 1000)
    with ExitStack() as stack:
        if worker:
            stack.enter_context(working(peer, place, job, environ))
        return answer_of(peer, place, question, job, environ)


def answer_of(peer: Peer, place: Place, question: str, job: Job, environ: Mapping[str, str]) -> Any:
    """Give what the program found out, with whatever worker there is.

    Raises:
        Failed: it failed, or took longer than `ASKING`.
    """
    module = type(peer).__module__
    command = [str(place.python), "-m", "benchmarks.asking", module, question, str(job.count)]
    answer, log = place.directory / "answer", place.directory / "asking.log"
    place.ledger.mkdir(exist_ok=True)
    with answer.open("wb") as said, log.open("wb") as errors:
        try:
            done = subprocess.run(
                command, cwd=place.directory, env=dict(environ), stdout=said, stderr=errors, timeout=ASKING
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"no answer in {ASKING:g} s\n{place.tail(log)}") from None
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{place.tail(log)}")
    return json.loads(answer.read_text().splitlines()[-1])
