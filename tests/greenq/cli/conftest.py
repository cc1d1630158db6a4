"""A directory with an application, and a worker in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.greenq.cli.command import SCRIPT, environment
from tests.waiting import until

APP = '''
from greenq import GreenQ

app = GreenQ("shop")


@app.task
def add(a: int, b: int = 0) -> int:
    """Add two numbers.

    There is more to say about that.
    """
    return a + b


@app.task(bind=True, max_retries=5, autoretry_for=(KeyError,), queue="mail")
def send(self, to, *, text=""):
    raise ValueError(f"nobody is called {to}")


@app.task
async def wait(seconds):
    import asyncio
    await asyncio.sleep(seconds)
'''


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with the application `shop`; broker and store are at their defaults."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
def worker(shop: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker of `shop` on threads, which takes from the queues celery and mail."""
    log = shop / "worker.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*SCRIPT, "worker", "-A", "shop", "--pool", "threads", "-c", "4", "-Q", "celery,mail"],
            cwd=shop,
            env=environment(),
            stderr=file,
            text=True,
        )
    try:
        until(lambda: "broker" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the worker did not end: {log.read_text()}")
