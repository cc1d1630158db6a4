"""The whole program: a real worker, a real site, the exact report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.examples.oddserver import odd_server

ROOT = Path(__file__).parents[2]


def linkcheck(*arguments: str, code: int, **more: Any) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [sys.executable, "-m", "examples.linkcheck", "-c", "100", *arguments],
        cwd=ROOT, env=environment(), timeout=120, capture_output=True, text=True, **more,
    )  # fmt: skip
    assert run.returncode == code, run.stdout + run.stderr
    return run


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GREENQ_")}


def left_behind(scratch: Path) -> list[str]:
    return sorted(path.name for path in scratch.iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Forty pages in a ring, some with links that lead nowhere."""
    root = tmp_path / "site"
    (root / "part").mkdir(parents=True)
    for n in range(40):
        following = f"page{(n + 1) % 40}.html"
        (root / f"page{n}.html").write_text(
            f'<h1 id="one">Page {n}</h1><a href="{following}#one">on</a> <a href="index.html">up</a>'
            '<img src="dot.png"><a href="https://outside.example/">out</a><a href="mailto:me@here">me</a>'
        )
    (root / "dot.png").write_bytes(b"png")
    links = "".join(f'<a href="page{n}.html">{n}</a>' for n in range(40))
    (root / "index.html").write_text(f"{links}<a href='part/'>part</a>")
    (root / "part" / "index.html").write_text(
        '<a href="gone.html">x</a><a href="../page3.html#two">x</a><a href="../page3.html#one">x</a>'
        '<img src="gone.png"><a href="gone.html#part">x</a>'
    )
    (root / "page7.html").write_text('<p id=one><a href="part/gone.html">x</a><a href="page8.html">on</a>')
    return root


DEAD = """\
page3.html#two
    no such anchor on the page
    linked from part/
part/gone.html
    404 Not Found
    linked from page7.html
    linked from part/
part/gone.png
    404 Not Found
    linked from part/

"""


def test_a_directory_with_dead_links_is_reported_exactly(site: Path) -> None:
    run = linkcheck(str(site), code=1)
    report, _, summary = run.stdout.partition("\n\n")
    assert f"{report}\n\n" == DEAD
    lines = summary.splitlines()
    assert lines[0] == "245 links on 43 pages: 3 dead links"
    assert lines[1].startswith("46 addresses checked in ")
    assert lines[2] == "1 outside address not checked; --external checks them too"
    assert len(lines) == 3
    assert run.stderr == ""


def test_the_report_for_programs_has_everything(site: Path) -> None:
    report = json.loads(linkcheck(str(site), "--json", code=1).stdout)
    assert report.pop("seconds") > 0
    assert report == {
        "start": str(site),
        "totals": {"links": 245, "pages": 43, "addresses": 46, "unchecked": 1, "tries": 46},
        "dead": [
            {"url": "page3.html#two", "problem": "no such anchor on the page", "sources": ["part/"]},
            {"url": "part/gone.html", "problem": "404 Not Found", "sources": ["page7.html", "part/"]},
            {"url": "part/gone.png", "problem": "404 Not Found", "sources": ["part/"]},
        ],
    }


def test_a_site_without_dead_links_exits_with_0_and_leaves_nothing(site: Path, tmp_path: Path) -> None:
    for name in ("part/index.html", "page7.html"):
        (site / name).write_text('<p id=one><a href="/index.html">up</a>')
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = processes()
    run = subprocess.run(
        [sys.executable, "-m", "examples.linkcheck", str(site), "-c", "10", "--processes", "2"],
        cwd=ROOT, env=environment() | {"TMPDIR": str(scratch)}, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "no dead link" in run.stdout
    assert left_behind(scratch) == []
    assert processes() <= before


def test_passing_failures_are_tried_again_and_outside_hosts_are_asked_politely(tmp_path: Path) -> None:
    with odd_server() as odd:
        links = ("flaky/1", "status/500", "get-only", "status/404", "redirect/page", "reset/x", "fine")
        (tmp_path / "index.html").write_text("".join(f'<a href="{odd.url}/{link}">' for link in links))
        report = json.loads(linkcheck(str(tmp_path), "--external", "--json", code=1).stdout)
        problems = {dead["url"].removeprefix(f"{odd.url}/"): dead["problem"] for dead in report["dead"]}
        assert problems == {
            "status/404": "404 Not Found",
            "status/500": "500 Internal Server Error, 3 times",
            "reset/x": "connection lost, 3 times",
        }
        assert odd.seen["HEAD /flaky/1"] + odd.seen["GET /flaky/1"] >= 3
        # Two at once: and the server may notice the end of one after the client has begun the next.
        assert odd.most_at_once <= 3


def test_a_site_is_checked_by_its_address_and_not_above_it() -> None:
    with odd_server() as odd:
        report = json.loads(linkcheck(f"{odd.url}/docs/page", "--json", code=0).stdout)
        assert report["totals"]["pages"] == 1
        assert report["totals"]["unchecked"] == 1
        assert set(odd.seen) == {"GET /docs/page"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/directory"], "neither a directory nor"),
        (["ftp://host/"], "neither a directory nor"),
        ([".", "-c", "0"], "must be at least 1"),
        ([".", "-c", "many"], "invalid"),
        ([".", "-c", "1000000000"], "give --concurrency"),
        ([".", "--pool", "grevent"], "gevent"),
        ([".", "--no-worker", "--frobnicate"], "unrecognized"),
        ([], "required"),
    ],
)
def test_a_mistake_gets_one_clear_answer_and_exit_code_2(arguments: list[str], says: str) -> None:
    run = linkcheck(*arguments, code=2)
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_a_start_that_is_dead_is_itself_reported() -> None:
    with odd_server() as odd:
        run = linkcheck(f"{odd.url}/status/404", code=1)
        assert run.stdout.startswith(f"{odd.url}/status/404\n    404 Not Found\n    where the check began\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_check_leaves_no_worker_behind(number: signal.Signals, tmp_path: Path) -> None:
    with odd_server() as odd:
        before = processes()
        check = subprocess.Popen(
            [sys.executable, "-m", "examples.linkcheck", f"{odd.url}/slow/", "-c", "10"],
            cwd=ROOT, env=environment() | {"TMPDIR": str(tmp_path)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(lambda: odd.seen["GET /slow/"] == 1)
        check.send_signal(number)
        output, complaint = check.communicate(timeout=60)
        assert output == ""
        assert "Traceback" not in complaint
        if number != signal.SIGKILL:
            assert check.returncode == 130
            assert complaint.strip() == "linkcheck: stopped"
            assert left_behind(tmp_path) == []
        wait_until(lambda: processes() <= before)


def processes() -> set[str]:
    """Command lines of this example's processes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "examples.linkcheck" in line or "linkcheck-" in line:
            found.add(f"{path.parent.name} {line}")
    return found


def wait_until(true: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
