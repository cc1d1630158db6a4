"""The identical program ends the same way under Celery and under greenq: values, states, stored records.

It does so written for greenq, and as a Celery application that greenq's worker has adopted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.greenq.parity.conftest import PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", ["greenq", "adopted"])
def test_a_program_ends_the_same_way_under_both(program: Path, side: str, sides: dict[str, Any]) -> None:
    celery, greenq = sides["celery"][program.stem], sides[side][program.stem]
    for library, found in (("celery", celery), ("greenq", greenq)):
        assert "broke" not in found, f"under {library}:\n{found['broke']}"
    assert greenq["log"] == celery["log"]
    assert greenq["seen"].keys() == celery["seen"].keys()
    for name, seen in celery["seen"].items():
        assert greenq["seen"][name] == seen, name
