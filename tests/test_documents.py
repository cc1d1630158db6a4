from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import Reader, blocks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_first_five_minutes_work_word_for_word(reader: Reader) -> None:
    reader.read(section(README, "Five minutes"))
    assert reader.saved == ["tasks.py", "crowd.py"]
    assert len(reader.workers) == 1
    assert len(reader.typed) == 4


def test_getting_started_works_word_for_word(reader: Reader) -> None:
    reader.read((ROOT / "docs" / "getting-started.md").read_text())
    assert len(reader.workers) == 2
    assert reader.saved == ["tasks.py", "calls.py", "prices.py", "failing.py", "greenq.yaml"]
    assert len(reader.typed) == 8


def test_the_readme_begins_with_the_two_commands_that_exist() -> None:
    first = next(blocks(README))
    commands = re.findall(r"^make (\w+)", first.text, re.MULTILINE)
    assert commands == ["demo", "test"]
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(commands) <= set(targets)


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111 == 0o111


def test_every_target_that_make_lists_exists() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    for target in re.findall(r"make (\w+)", shown.stdout):
        subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, timeout=30, check=True)


@pytest.mark.parametrize(
    "page",
    sorted(
        path
        for pattern in ("*.md", "docs/*.md", "examples/**/*.md", "conf/*.md", "benchmarks/*.md")
        for path in ROOT.glob(pattern)
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_of_the_manual_is_in_its_contents() -> None:
    listed = set(re.findall(r"^([a-z-]+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    assert listed == {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
