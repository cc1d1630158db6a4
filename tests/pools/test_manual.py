"""The manual's page on pools, done word for word."""

from __future__ import annotations

import re
from pathlib import Path

from pools.base import Pool
from pools.table import BUILTIN, load
from tests.documents import Reader

PAGE = (Path(__file__).parents[2] / "docs" / "pools.md").read_text()


def test_the_page_works_word_for_word(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.read(PAGE)
    assert reader.saved == ["squares.py", "mixed.py"]
    assert len(reader.typed) == 2


def test_the_table_names_every_pool_and_what_it_can_do() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| (\w+) \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(BUILTIN)
    for name, interrupt, kill in rows:
        features = load(name).features
        assert (interrupt.strip() != "no", kill == "yes") == (features.interrupt, features.kill)


def test_the_page_names_every_public_method() -> None:
    public = {name for name in vars(Pool) if not name.startswith("_")} - {"now", "usual_capacity"}
    named = set(re.findall(r"`(\w+)[(`]", PAGE))
    assert public <= named
