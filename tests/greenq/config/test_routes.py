"""Mistakes in routes and queues, each told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq.config import load
from greenq.errors import ConfigError

MISTAKES = {
    "a route without a name": (
        "routes:\n  - {queue: a}\n",
        "2: routes[0] needs match, the name of a task or a pattern, or function",
    ),
    "a route by a function that also has a queue": (
        "routes:\n  - {function: 'shop:choose', queue: a}\n",
        "2: routes[0] has a function, which says all by itself; delete its other keys",
    ),
    "a route by an expression that is none": (
        "routes:\n  - {match: 're:(', queue: a}\n",
        "2: routes[0] has a regular expression that cannot be read: missing ), unterminated subpattern "
        "at position 0",
    ),
    "an exchange type without an exchange": (
        "queues:\n  a: {exchange_type: topic}\n",
        "2: queues.a has an exchange_type, but no exchange; name one",
    ),
    "a broadcast that is a topic": (
        "queues:\n  a: {broadcast: true, exchange_type: topic}\n",
        "2: queues.a is a broadcast queue, so its exchange is a fanout; delete exchange_type",
    ),
    "a queue that is not listed": (
        "tasks: {create_missing_queues: false}\nqueues: {mail: {}}\nworker:\n  queues: [mial]\n",
        '4: worker.queues[0] is "mial", which queues does not list; tasks.create_missing_queues is off; '
        "did you mean mail?",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_line(name: str, tmp_path: Path) -> None:
    text, message = MISTAKES[name]
    file = tmp_path / "greenq.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:{message}"


def test_arguments_are_taken_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "greenq.yaml"
    file.write_text(
        "queues: {a: {arguments: {x-max-length: 5, x-overflow: reject-publish, deep: {a: [1, null]}}}}\n"
    )
    found = load(file).settings.queues["a"].arguments
    assert found == {"x-max-length": 5, "x-overflow": "reject-publish", "deep": {"a": [1, None]}}
