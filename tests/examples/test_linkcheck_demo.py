from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.linkcheck.demo import PLANTED, build_site, find_pages

ROOT = Path(__file__).parents[2]


def manual(directory: Path, pages: int) -> Path:
    directory.mkdir(parents=True)
    links = "".join(f'<a href="{n}.html">{n}</a>' for n in range(pages))
    (directory / "index.html").write_text(links)
    for n in range(pages):
        (directory / f"{n}.html").write_text('<a href="index.html">up</a>')
    return directory


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


def test_the_demo_finds_what_was_planted_compares_and_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    ours, other = manual(tmp_path / "ours", 20), manual(tmp_path / "other", 30)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "examples.linkcheck.demo", str(ours), "--pages", str(other)),
            *("--latency", "0.02", "--concurrency", "50", "--sample", "5"),
        ],
        cwd=ROOT, env=os.environ | {"TMPDIR": str(scratch)}, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    for url, problem in PLANTED.items():
        assert f"{url}\n    {problem}\n    linked from index.html\n" in run.stdout
    assert f"{len(PLANTED)} dead links\n" in run.stdout
    assert "greenq worker -A examples.linkcheck.tasks --pool gevent -c 50" in run.stdout
    assert re.search(r"measured on 5 of them; all \d+ would take [\d.]+ s", run.stdout)
    assert re.search(r"[\d.]+ times as fast", run.stdout)
    assert list(scratch.iterdir()) == []


def test_the_wanted_manual_is_preferred_then_the_largest_then_none(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"
    assert find_pages(wanted, tmp_path) is None
    manual(tmp_path / "packages" / "small", 2)
    large = manual(tmp_path / "packages" / "large" / "html", 5)
    assert find_pages(wanted, tmp_path / "packages") == large
    manual(wanted, 1)
    assert find_pages(wanted, tmp_path / "packages") == wanted


def test_the_demo_copes_without_any_other_manual(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    build_site(site, manual(tmp_path / "ours", 1), None)
    assert 'href="other/index.html"' not in (site / "index.html").read_text()
