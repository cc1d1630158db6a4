"""Patching first, too late, twice, and not at all; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pools.patching import unpatched

TRY = """
from pools.errors import PoolError
from pools.patching import patch, unpatched
try:
    patch({pool!r})
    patch({pool!r})
except PoolError as error:
    print("refused:", error)
else:
    print("unpatched:", unpatched({pool!r}))
"""


def try_to_patch(pool: str, before: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", before + TRY.format(pool=pool)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr.replace("EventletDeprecationWarning", "")
    return done.stdout.strip()


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_fresh_process_becomes_green(pool: str) -> None:
    assert try_to_patch(pool) == "unpatched: []"


@pytest.mark.parametrize("pool", ["threads", "solo", "prefork", "asyncio"])
def test_pools_without_green_threads_patch_nothing(pool: str) -> None:
    check = "\nimport socket, sys\nassert not {'gevent', 'eventlet'} & set(sys.modules)\n"
    assert try_to_patch(pool, before=check) == "unpatched: []"
    assert unpatched(pool) == []


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_plain_process_says_what_is_not_green(pool: str) -> None:
    missing = unpatched(pool)
    assert {"socket", "ssl", "select", "subprocess", "threading", "time"} <= set(missing)


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("import socket\nkeep = socket.socket()\n", "1 sockets are open"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
            "1 other threads are running",
        ),
        (
            "import sys, types, time\nsys.modules['own'] = own = types.ModuleType('own')\n"
            "own.pause = time.sleep\n",
            "own has taken time.sleep as pause",
        ),
    ],
)
def test_too_late_is_refused_with_what_came_before(pool: str, before: str, reason: str) -> None:
    answer = try_to_patch(pool, before)
    assert answer.startswith(f"refused: too late to patch for {pool}: ")
    assert reason in answer
    assert "before other imports" in answer


@pytest.mark.parametrize(
    ("first", "second"), [("gevent", "eventlet"), ("eventlet", "gevent")], ids=lambda name: name
)
def test_two_libraries_cannot_patch_one_process(first: str, second: str) -> None:
    answer = try_to_patch(second, before=f"from pools.patching import patch\npatch({first!r})\n")
    assert (
        answer
        == f"refused: {first} has patched this process already, so the {second} pool cannot: use {first}"
    )


def test_modules_that_only_import_the_standard_library_are_no_obstacle() -> None:
    before = "import asyncio, concurrent.futures, logging, queue, ssl, subprocess, threading, yaml, click\n"
    assert try_to_patch("gevent", before) == "unpatched: []"


def test_an_unknown_pool_is_named_with_what_is_meant() -> None:
    assert "did you mean 'gevent'?" in try_to_patch("gevnt")


def test_what_other_packages_hang_into_patching_is_called(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text("def seen(event):\n    print('seen:', type(event).__name__)\n")
    package = tmp_path / "hook-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: hook\nVersion: 1\n")
    names = ("will_patch_all", "did_patch_all", "did_patch_builtins")
    lines = [f"[gevent.plugins.monkey.{name}]\nhook = hook:seen\n" for name in names]
    (package / "entry_points.txt").write_text("".join(lines))
    said = try_to_patch("gevent", f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n").splitlines()
    assert said[-1] == "unpatched: []"
    assert next(line for line in said if line.startswith("seen:")) == "seen: GeventWillPatchAllEvent"
    assert "seen: GeventDidPatchAllEvent" in said


def test_packages_are_read_as_before_once_it_is_done() -> None:
    before = "from importlib import metadata\nask = metadata.entry_points\nimport atexit\n"
    before += "atexit.register(lambda: print(metadata.entry_points is ask))\n"
    assert try_to_patch("gevent", before).splitlines() == ["unpatched: []", "True"]
