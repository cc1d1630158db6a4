"""Applications that do at import what should wait: connect, send, and have another application beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq import GreenQ
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

SOURCE = """
from greenq import GreenQ

app = GreenQ("busy")
other = GreenQ("other", broker="sqlite:///{here}/other.db", results="sqlite:///{here}/other.db")


@app.task
def add(x, y):
    return x + y


@app.task
def pass_on(x):
    return other.send_task("other.task", (x,)).id


@other.task
def beside():
    return None


{busy}.broker.depth()
{busy}.send_task("busy.add", (1, 1))
"""


def test_an_application_that_sends_as_it_is_imported_is_refused_by_name(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text(SOURCE.format(here=tmp_path, busy="app"))
    worker = shop.worker("-A", "busy", "-P", "threads", ready=False)
    assert worker.wait() != 0
    assert "import time" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("pool", [("gevent", "10"), ("prefork", "2")])
def test_another_application_beside_it_may_connect_and_send_at_import_and_in_tasks(
    shop: Shop, pool: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "busy.py").write_text(SOURCE.format(here=tmp_path, busy="other"))
    worker = shop.worker("-A", "busy", "-P", pool[0], "-c", pool[1])
    assert shop.app.send_task("busy.add", (2, 3)).get(timeout=PATIENCE) == 5
    sent = shop.app.send_task("busy.pass_on", (7,)).get(timeout=PATIENCE)
    other = GreenQ("other", broker=f"sqlite:///{tmp_path}/other.db", results=None)
    try:
        assert sent in _waiting(other)
    finally:
        other.close()
    until(lambda: shop.depth().ready == 0, what="an empty queue")
    assert "Traceback" not in worker.output


def _waiting(app: GreenQ) -> list[str]:
    """The ids of what waits in an application's queue."""
    app.broker.lease("looker", 60.0)
    found = app.broker.fetch(["celery"], 100, PATIENCE)
    return [one.message.headers["id"] for one in found if one.message is not None]
