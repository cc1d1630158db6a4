"""The manual names, for each promise, tests and commands that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "guarantees.md").read_text().partition("## The proofs")[2].partition("\n## ")[0]
FILES = sorted(set(re.findall(r"`((?:tests/)?[\w/]+(?:\.py|/))`", SECTION)))
COMMANDS = sorted(set(re.findall(r"python -m ([\w.]+)", SECTION)))


@pytest.mark.parametrize("name", FILES)
def test_a_proof_is_there(name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "tests" / "chaos" / name).exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_there(name: str) -> None:
    path = ROOT / name.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_there_are_some() -> None:
    assert len(FILES) > 8
    assert len(COMMANDS) > 4
