"""The manual's table of Celery's features: what it calls the same is tried, and what is tried is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.greenq.parity.conftest import PROGRAMS, ROOT

PAGE = ROOT / "docs" / "celery-features.md"
VERDICTS = {"same", "better", "absent"}


def rows() -> list[list[str]]:
    """The rows of the tables that say where each feature is tried."""
    found, tried = [], False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
        if not line.startswith("|"):
            tried = False
        elif cells[-1] == "tried in":
            tried = True
        elif tried and not line.startswith("| ---"):
            found.append(cells)
    return found


def cases(row: list[str]) -> list[tuple[str, str]]:
    """The programs and cases that a row names."""
    named = []
    for part in filter(None, row[3].split(";")):
        program, _, names = part.strip().partition(": ")
        named += [(program, name.strip()) for name in names.split(",")]
    return named


def test_every_row_has_a_verdict_and_what_is_absent_has_a_reason() -> None:
    assert len(rows()) > 80
    for row in rows():
        assert len(row) == 4, row
        assert row[1] in VERDICTS, row
        assert row[1] == "same" or row[2], f"{row[0]}: why, and what instead?"


@pytest.mark.parametrize("row", [row for row in rows() if row[1] == "same"], ids=lambda row: row[0])
def test_what_is_the_same_names_cases_that_are_run_under_both(row: list[str], sides: dict[str, Any]) -> None:
    assert cases(row), f"{row[0]}: where is it tried?"
    for program, case in cases(row):
        assert program in {path.stem for path in PROGRAMS}, program
        for library, found in sides.items():
            assert case in found[program]["seen"], f"{program} has no case {case!r} under {library}"


def test_every_program_is_named_by_the_table() -> None:
    named = {program for row in rows() for program, _ in cases(row)}
    assert {path.stem for path in PROGRAMS} <= named


def test_no_two_programs_have_one_name() -> None:
    assert len({path.stem for path in PROGRAMS}) == len(PROGRAMS)
    assert all(Path(path).is_file() for path in PROGRAMS)
