"""Sending, results, queues and dead letters from the command line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from greenq import GreenQ
from greenq.cli import ending
from tests.greenq.cli.command import SCRIPT, environment, greenq
from tests.waiting import until


def send(shop: Path, *arguments: str) -> str:
    done = greenq("call", *arguments, cwd=shop)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def depths(shop: Path) -> dict[str, dict[str, int]]:
    done = greenq("queues", "list", "--json", cwd=shop)
    assert done.returncode == 0, done.stderr
    kinds = ("ready", "delayed", "leased", "dead")
    return {name: {kind: of[kind] for kind in kinds} for name, of in json.loads(done.stdout).items()}


# ── with a worker ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("worker")
def test_a_call_that_is_waited_for_prints_its_result_as_json(shop: Path) -> None:
    done = greenq("call", "shop.add", "--args", "[2, 3]", "--wait", "--timeout", "30s", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


@pytest.mark.usefixtures("worker")
def test_a_failed_call_exits_with_1_and_shows_where_it_failed(shop: Path) -> None:
    done = greenq("call", "-A", "shop", "shop.send", "-a", '["Eve"]', "--wait", "--timeout", "30s", cwd=shop)
    assert done.returncode == ending.FAILED
    assert done.stdout == ""
    assert "shop.py" in done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: nobody is called Eve"


@pytest.mark.usefixtures("worker")
def test_a_result_is_found_later_by_its_id(shop: Path) -> None:
    good = send(shop, "shop.add", "-a", "[20]", "-k", '{"b": 1}')
    bad = send(shop, "shop.send", "-a", '["Eve"]')
    done = greenq("result", good, "--wait", "--timeout", "30s", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "21\n"), done.stderr
    assert "SUCCESS" in done.stderr
    done = greenq("result", bad, "--wait", "--timeout", "30s", "--json", cwd=shop)
    record = json.loads(done.stdout)
    assert done.returncode == ending.FAILED
    assert (record["task_id"], record["status"]) == (bad, "FAILURE")
    assert record["result"]["exc_type"] == "ValueError"
    assert "shop.py" in record["traceback"]


@pytest.mark.usefixtures("worker")
def test_what_no_worker_knows_is_listed_shown_replayed_and_purged_as_dead(shop: Path) -> None:
    sent = send(shop, "shop.gone")
    until(lambda: depths(shop).get("celery", {}).get("dead") == 1)
    (letter,) = json.loads(greenq("dead", "list", "--json", cwd=shop).stdout)
    assert letter["headers"]["id"] == sent
    shown = greenq("dead", "show", letter["key"], cwd=shop).stdout
    assert "shop.gone" in shown
    assert sent in shown
    listed = greenq("dead", "list", cwd=shop).stdout
    assert "shop.gone" in listed.splitlines()[1]
    done = greenq("dead", "replay", letter["key"], cwd=shop)
    assert (done.returncode, done.stdout) == (0, "replayed 1 of 1\n"), done.stderr
    until(lambda: depths(shop)["celery"]["dead"] == 1)
    assert greenq("dead", "replay", "--all", "-q", "celery", cwd=shop).stdout == "replayed 1 of 1\n"
    until(lambda: depths(shop)["celery"]["dead"] == 1)
    assert greenq("dead", "purge", cwd=shop).returncode == 2
    assert greenq("dead", "purge", "--yes", cwd=shop).stdout == "dropped 1 dead letter\n"
    assert depths(shop)["celery"]["dead"] == 0


# ── without ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_prints_the_id_of_what_it_sent(shop: Path) -> None:
    sent = send(shop, "shop.add", "--args", "[1]", "--queue", "later", "--countdown", "1h")
    assert str(uuid.UUID(sent)) == sent
    assert send(shop, "shop.add", "--task-id", "mine", "--priority", "9", "--expires", "1h") == "mine"
    assert depths(shop) == {
        "later": {"ready": 0, "delayed": 1, "leased": 0, "dead": 0},
        "celery": {"ready": 1, "delayed": 0, "leased": 0, "dead": 0},
    }


def test_every_option_of_a_call_reaches_the_message(shop: Path) -> None:
    send(
        shop, "shop.add", "--eta", "2001-01-01T01:00:00+01:00", "--expires", "2099-01-02T00:00:00+00:00",
        "--priority", "7", "--serializer", "msgpack", "--task-id", "mine", "--queue", "later",
        "--args", "[1]", "--kwargs", '{"b": "ü"}',
    )  # fmt: skip
    app = GreenQ("test", broker=f"sqlite:///{shop / 'greenq.db'}", results={"url": None})
    with app.broker as broker:
        broker.lease("test", 30)
        (delivery,) = broker.fetch(["later"], 1, 10)
    message = delivery.message
    assert message is not None
    assert (message.priority, message.content_type) == (7, "application/x-msgpack")
    assert message.headers["id"] == "mine"
    assert datetime.fromisoformat(message.headers["eta"]) == datetime(2001, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(message.headers["expires"]) == datetime(2099, 1, 2, tzinfo=UTC)
    args, kwargs, _ = app.codecs.decode(message.body, message.content_type, message.content_encoding)
    assert (args, kwargs) == ([1], {"b": "ü"})


def test_a_wait_that_is_over_says_how_to_ask_again(shop: Path) -> None:
    done = greenq("call", "shop.add", "--task-id", "mine", "--wait", "--timeout", "100ms", cwd=shop)
    assert done.returncode == ending.NOT_YET
    assert "greenq result mine --wait" in done.stderr


def test_a_result_that_is_not_there_exits_with_3(shop: Path) -> None:
    done = greenq("result", "nothing", cwd=shop)
    assert (done.returncode, done.stdout) == (ending.NOT_YET, "")
    assert "PENDING" in done.stderr
    done = greenq("result", "nothing", "--json", cwd=shop)
    assert json.loads(done.stdout) == {"task_id": "nothing", "status": "PENDING"}


def test_purging_asks_and_drops_what_waits(shop: Path) -> None:
    send(shop, "shop.add")
    send(shop, "shop.add", "--countdown", "1h", "--queue", "later")
    refused = greenq("queues", "purge", "celery", "later", cwd=shop)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    done = greenq("queues", "purge", "celery", "later", "--yes", cwd=shop)
    assert done.stdout == "dropped 2 messages from celery and later\n"
    again = greenq("queues", "purge", "celery,later", "--yes", cwd=shop)
    assert again.returncode == 0
    assert "nothing waits" in again.stderr


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 1), (b"y\n", 0)])
def test_on_a_terminal_purging_asks(shop: Path, answer: bytes, left: int) -> None:
    send(shop, "shop.add")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SCRIPT, "queues", "purge", "celery"],
        cwd=shop, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"?" not in shown:
        shown += os.read(ours, 1000)
    assert b"Drop 1 message from celery?" in shown
    os.write(ours, answer)
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert depths(shop)["celery"]["ready"] == left


def test_queues_line_up_in_a_table(shop: Path) -> None:
    send(shop, "shop.add")
    header, line = greenq("queues", "list", cwd=shop).stdout.splitlines()
    assert header.split() == ["queue", "ready", "delayed", "leased", "dead"]
    assert line.split() == ["celery", "1", "0", "0", "0"]
    assert header.index("ready") + len("ready") == line.index("1") + 1


def test_priorities_are_told_apart_where_there_are_any(shop: Path) -> None:
    for priority in ("9", "0", "0"):
        send(shop, "shop.add", "--priority", priority)
    header, line = greenq("queues", "list", cwd=shop).stdout.splitlines()
    assert header.endswith("ready by priority")
    assert line.split()[1] == "3"
    assert line.endswith("9: 1, 0: 2")


def test_a_broker_without_queues_says_so(shop: Path) -> None:
    done = greenq("queues", "list", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no queues yet" in done.stderr
    assert "no dead letters" in greenq("dead", "list", cwd=shop).stderr


def test_tasks_are_listed_with_signature_and_options(shop: Path) -> None:
    done = greenq("tasks", "-A", "shop", cwd=shop)
    assert done.stdout.splitlines() == [
        "shop.add(a: int, b: int = 0) -> int",
        "    Add two numbers.",
        "shop.send(to, *, text='')",
        "    max_retries=5, autoretry_for=[KeyError], queue=mail",
        "async shop.wait(seconds)",
    ]
    found = json.loads(greenq("tasks", "-A", "shop", "--json", cwd=shop).stdout)
    assert [task["name"] for task in found] == ["shop.add", "shop.send", "shop.wait"]
    assert found[1]["options"] == {"max_retries": 5, "autoretry_for": ["KeyError"], "queue": "mail"}
    assert found[2]["async"] is True


def test_the_application_of_the_configuration_is_listed(shop: Path) -> None:
    (shop / "greenq.yaml").write_text("app: shop:app")
    assert "shop.add" in greenq("tasks", cwd=shop).stdout


def test_the_file_that_is_named_counts_for_an_application_too(shop: Path) -> None:
    (shop / "other.yaml").write_text("broker: {url: 'sqlite:///other.db'}")
    send(shop, "-A", "shop", "shop.add", "-a", "[1]", "--config", "other.yaml")
    assert (shop / "other.db").exists()
    assert not (shop / "greenq.db").exists() or depths(shop) == {}
