"""The manual's table of endings is the code's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from greenq.worker.endings import Endings

PAGE = Path(__file__).parents[3] / "docs" / "guarantees.md"


def test_the_manual_lists_every_way_a_task_can_end() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    endings = [
        name
        for name, method in inspect.getmembers(Endings, inspect.isfunction)
        if not name.startswith("_") and inspect.signature(method).return_annotation == "Outcome"
    ]
    assert sorted(rows) == sorted(endings)


def test_each_ending_says_what_is_recorded_and_how_the_message_is_settled() -> None:
    for name, method in inspect.getmembers(Endings, inspect.isfunction):
        if not name.startswith("_") and inspect.signature(method).return_annotation == "Outcome":
            assert ":" in (method.__doc__ or ""), name
            assert ";" in (method.__doc__ or ""), name
