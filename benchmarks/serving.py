"""Run a worker, and a program of the peer's own that asks it things."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.drain import stop
from benchmarks.peers import Peer
from benchmarks.place import Failed, Place

__all__ = ["ask"]

ASKING = 300.0
"""Seconds that the program may take."""


def ask(peer: Peer, place: Place, question: str, count: int, *, concurrency: int, worker: bool = True) -> Any:
    """Start a worker if there is to be one, and give what ``python -m benchmarks.asking`` found out.

    Parameters:
        question: the name of a function in `benchmarks.asking`.

    Raises:
        Failed: either program failed.
    """
    environ = place.environ(peer, 10 * count + 1000, concurrency, 0.0, worker)
    place.ledger.mkdir()
    log, answer = place.directory / "worker.log", place.directory / "answer"
    command = [str(place.python), "-m", "benchmarks.asking", type(peer).__module__, question, str(count)]
    with log.open("wb") as output, answer.open("wb") as said:
        process = (
            subprocess.Popen(
                peer.worker(place.python, concurrency), cwd=place.directory, env=environ,
                stdout=output, stderr=output, start_new_session=True,
            )
            if worker
            else None
        )  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=place.directory, env=environ, stdout=said, stderr=output, timeout=ASKING
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{peer.name}: no answer in {ASKING:g} s\n{place.tail(log)}") from None
        finally:
            if process is not None:
                stop(process)
    if done.returncode:
        raise Failed(f"{peer.name}: {' '.join(command)} ended with {done.returncode}\n{place.tail(log)}")
    return json.loads(answer.read_text().splitlines()[-1])
