from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.linkcheck.ledger import DeadLink, Ledger, Totals

SITE = "http://h/"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db", SITE)
    ledger.add([SITE])
    yield ledger
    ledger.close()


def end(ledger: Ledger, url: str, **found: Any) -> None:
    targets = [target for target in ledger.next_inside(1000) if target.url == url]
    targets = targets or [target for target in ledger.next_outside(1000, {}, 1000) if target.url == url]
    ledger.sent(targets)
    ledger.record([(targets[0], {"problem": None, "tries": 1} | found)])


def test_an_address_is_checked_once_however_often_it_is_linked(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={"http://h/a": ["", "x"], SITE: [""]})
    assert [target.url for target in ledger.next_inside(10)] == ["http://h/a"]
    end(ledger, "http://h/a", anchors=["x"], links={SITE: [""]})
    assert ledger.next_inside(10) == []
    assert ledger.progress() == (2, 2)
    assert list(ledger.dead()) == []


def test_a_dead_address_is_reported_with_every_page_that_links_to_it(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={"http://h/a": [""], "http://h/gone": ["x"]})
    end(ledger, "http://h/a", anchors=[], links={"http://h/gone": ["", "y"]})
    end(ledger, "http://h/gone", problem="404 Not Found")
    assert list(ledger.dead()) == [DeadLink("http://h/gone", "404 Not Found", [SITE, "http://h/a"])]


def test_a_missing_anchor_is_reported_with_the_pages_that_want_it(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={"http://h/a": ["there", "not there"]})
    end(ledger, "http://h/a", anchors=["there"], links={"http://h/a": ["there"]})
    assert list(ledger.dead()) == [DeadLink("http://h/a#not there", "no such anchor on the page", [SITE])]


def test_a_fragment_of_something_that_is_no_page_is_nobodys_business(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={"http://h/film.pdf": ["page=3"]})
    end(ledger, "http://h/film.pdf")
    assert list(ledger.dead()) == []


def test_outside_addresses_wait_for_their_host(ledger: Ledger) -> None:
    outside = {f"http://{host}/{n}": [""] for host in ("one", "two") for n in range(5)}
    end(ledger, SITE, anchors=[], links=outside)
    assert ledger.next_inside(10) == []
    chosen = ledger.next_outside(100, {"one": 1}, 2)
    assert sorted(target.host for target in chosen) == ["one", "two", "two"]
    assert len(ledger.next_outside(2, {}, 5)) == 2


def test_totals_count_what_was_seen(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={"http://h/a": ["", "x"], "http://out/": [""]})
    end(ledger, "http://h/a", problem="500, 3 times", tries=3)
    assert ledger.totals() == Totals(links=3, pages=1, addresses=2, unchecked=1, tries=4)


def test_a_sample_has_only_what_works(ledger: Ledger) -> None:
    end(ledger, SITE, anchors=[], links={f"http://h/{n}": [""] for n in range(9)} | {"http://h/x": [""]})
    end(ledger, "http://h/x", problem="404 Not Found")
    for n in range(9):
        end(ledger, f"http://h/{n}")
    assert len(set(ledger.sample(5))) == 5
    assert len(set(ledger.sample(50))) == 10
    assert "http://h/x" not in ledger.sample(50)
