"""Queues are paused and resumed from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.greenq.cli.command import greenq


def test_a_queue_is_paused_shown_and_resumed(shop: Path) -> None:
    assert greenq("call", "shop.add", cwd=shop).returncode == 0
    done = greenq("queues", "pause", "celery,mail", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "celery is paused\nmail is paused\n"), done.stderr
    assert done.stderr == "mail is not known yet: it is paused from its first message on\n"
    assert greenq("queues", "pause", "mail", cwd=shop).stdout == "mail was paused already\n"

    header, *lines = greenq("queues", "list", cwd=shop).stdout.splitlines()
    assert header.split()[-1] == "state"
    assert [line.split() for line in lines] == [
        ["celery", "1", "0", "0", "0", "paused"],
        ["mail", "0", "0", "0", "0", "paused"],
    ]

    done = greenq("queues", "resume", "celery", "later", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "celery is resumed\nlater was not paused\n"), done.stderr
    told = json.loads(greenq("queues", "list", "--json", cwd=shop).stdout)
    assert {name: queue["paused"] for name, queue in told.items()} == {"celery": False, "mail": True}


def test_what_no_worker_could_see_is_refused(shop: Path) -> None:
    done = greenq("queues", "pause", "mail", cwd=shop, env={"GREENQ_BROKER_URL": "memory://here"})
    assert done.returncode != 0
    assert "lives in one process only" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_nothing_can_be_remembered_the_reason_is_told(shop: Path) -> None:
    nowhere = {"GREENQ_BROKER_URL": "amqp://localhost:1", "GREENQ_RESULTS_URL": "rpc://"}
    done = greenq("queues", "pause", "mail", cwd=shop, env=nowhere)
    assert done.returncode != 0
    assert "throttling.url" in done.stderr
    assert "Traceback" not in done.stderr
