"""The programs of the manual's page about databases work as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenq.middleware import Middleware
from greenq.request import Request, current
from greenq.worker.hooks import Hooks
from tests.documents import blocks

PAGE = Path(__file__).parents[3] / "docs" / "databases.md"


def test_every_example_of_the_page_works() -> None:
    names: dict[str, Any] = {}
    for block in blocks(PAGE.read_text()):
        if block.language == "python":
            exec(compile(block.text, PAGE.name, "exec"), names)
    slowest = names["app"].middleware()[0]
    assert isinstance(slowest, Middleware)
    before = current.set(Request.for_direct_call("shop.work", (), {}))
    assert Hooks([slowest]).around(len, lambda fn: fn)("four") == 4
    current.reset(before)
    assert slowest.most[1] == "shop.work"
    assert not slowest.began
