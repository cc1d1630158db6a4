"""The manual's pages about tasks and calls, run as they stand."""

from __future__ import annotations

import doctest
import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenq.options import CallOptions, DeclaredOptions
from greenq.testing.app import working
from tests.documents import blocks

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that the page's programs are in."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("shop")
    sys.modules["shop"] = module
    yield module
    del sys.modules["shop"]
    module.__dict__.clear()
    gc.collect()  # the page's receivers of signals are gone with it


@pytest.mark.parametrize("page", ["tasks.md", "calling.md", "canvas.md", "signals.md", "throttling.md"])
def test_every_example_of_the_page_works(page: str, shop: ModuleType) -> None:
    text = (DOCS / page).read_text()
    found = list(blocks(text))
    for block in found:
        if block.language == "python":
            code = compile("from __future__ import annotations\n" + block.text, page, "exec")
            exec(code, shop.__dict__)
    sessions = [block.text for block in found if block.language == "pycon"]
    assert sessions
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    parser = doctest.DocTestParser()
    names: dict[str, Any] = dict(shop.__dict__)
    said: list[str] = []
    with working(shop.app):
        for number, session in enumerate(sessions):
            test = parser.get_doctest(session, names, f"{page}, session {number}", page, 0)
            runner.run(test, out=said.append, clear_globs=False)
            names.update(test.globs)
    assert runner.failures == 0, "".join(said)


def test_what_the_page_calls_a_test_is_one(shop: ModuleType) -> None:
    for block in blocks((DOCS / "tasks.md").read_text()):
        if block.language == "python":
            exec(
                compile("from __future__ import annotations\n" + block.text, "tasks.md", "exec"),
                shop.__dict__,
            )
    shop.test_a_customer_is_welcomed()


def listed(page: str, heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = (DOCS / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_tables_of_options_are_complete() -> None:
    assert listed("tasks.md", "Options") == {*DeclaredOptions.__annotations__, "name", "bind", "base"}
    assert listed("calling.md", "Options of a call") == {*CallOptions.__annotations__}
