"""What workers answer, as tables for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from greenq.cli import screen

__all__ = ["is_bad", "show_answers"]

LONGEST = 100
"""Characters of one cell."""


def is_bad(answer: Any) -> bool:
    """Whether a node says that it could not do what was asked."""
    return isinstance(answer, Mapping) and list(answer) == ["error"]


def show_answers(answers: Mapping[str, Any]) -> None:
    """Print the answers of nodes, by the kind of what they tell."""
    rows: list[list[str]] = []
    header = ["node", "answer"]
    for node, answer in sorted(answers.items()):
        if is_bad(answer):
            rows.append([node, click.style(str(answer["error"]), fg="red")])
        elif isinstance(answer, Mapping) and list(answer) == ["ok"]:
            rows += [[node, line] for line in str(answer["ok"]).strip("\n").split("\n")]
        elif isinstance(answer, list) and answer and all(isinstance(one, Mapping) for one in answer):
            header, some = _table(node, answer)
            rows += some
        elif isinstance(answer, Mapping):
            header = ["node", "name", "value"]
            rows += [[node, name, _text(value)] for name, value in _flat(answer)]
        elif isinstance(answer, list):
            rows += [[node, _text(one)] for one in answer] or [[node, click.style("none", dim=True)]]
        else:
            text = click.style("done", dim=True) if answer is None else _text(answer)
            rows += [[node, line] for line in text.strip("\n").split("\n")]
    width = max(len(row) for row in [header, *rows])
    screen.show_table(
        [*header, *[""] * (width - len(header))], [[*row, *[""] * (width - len(row))] for row in rows]
    )


def _table(node: str, things: list[Any]) -> tuple[list[str], list[list[str]]]:
    """Tasks, or queues."""
    if "delivery_info" in things[0]:
        return ["node", "id", "task", "args", "kwargs", "for"], [
            [
                node,
                _text(one["id"]),
                _text(one["name"]),
                _text(one["args"]),
                _text(one["kwargs"]),
                _since(one),
            ]
            for one in things
        ]
    if "exchange" in things[0]:
        return ["node", "queue", "exchange", "type", "routing key"], [
            [
                node, _text(one["name"]), _text(one["exchange"]["name"]), _text(one["exchange"]["type"]),
                _text(one["routing_key"]),
            ]
            for one in things
        ]  # fmt: skip
    return ["node", "answer"], [[node, _text(one)] for one in things]


def _since(task: Mapping[str, Any]) -> str:
    began = task.get("time_start")
    return f"{max(0.0, time.time() - began):.1f} s" if isinstance(began, int | float) else ""


def _flat(answer: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """``pool.max-concurrency`` for what is nested."""
    found: list[tuple[str, Any]] = []
    for name, value in answer.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", value))
    return found


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
