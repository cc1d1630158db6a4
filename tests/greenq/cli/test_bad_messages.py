"""Messages that no worker can run: each is kept as a dead letter that says why, and the good ones run."""

from __future__ import annotations

import json
import pickle
import re
import sqlite3
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ
from greenq.message import DeadLetter, Message
from tests.greenq.cli.command import greenq

JSON = "application/json"
BODY = b'[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
GOOD = 5


@dataclass
class Bad:
    """A message that somebody sent.

    Attributes:
        what: the case's name, and the task's id.
        says: patterns of the reason that is kept with the dead letter.
        headers: instead of good ones, by name; None leaves one out.
    """

    what: str
    says: list[str]
    body: bytes = BODY
    content_type: str = JSON
    headers: dict[str, Any] = field(default_factory=dict)

    def message(self) -> Message:
        headers = {"lang": "py", "id": self.what, "task": "shop.add", "retries": 0, **self.headers}
        known = {name: value for name, value in headers.items() if value is not None}
        return Message("celery", known, self.body, self.content_type, "utf-8")


BAD = [
    Bad("bytes that are no JSON", ["not valid json"], body=b"\x00\xff\x17 no json"),
    Bad("JSON that is cut off", ["json|JSON"], body=BODY[:20]),
    Bad("a body that is no call", ["args|body|list"], body=b'"hello"'),
    Bad("arguments that are no list", ["args|list|body"], body=b"[5, {}, {}]"),
    Bad("nesting without end", ["nest|deep"], body=b"[" * 5_000),
    Bad("a refused serializer", ["pickle|python-serialize", "accept"],
        body=pickle.dumps([[1, 2], {}, {}]), content_type="application/x-python-serialize"),
    Bad("an unknown content type", ["application/x-nothing"], content_type="application/x-nothing"),
    Bad("an unknown compression", ["application/x-nothing"],
        headers={"compression": "application/x-nothing"}),
    Bad("compressed bytes that are none", ["gzip|zlib|compress"],
        headers={"compression": "application/x-gzip"}),
    Bad("a bomb", ["max_body|larger|limit"], body=zlib.compress(b" " * 50_000_000),
        headers={"compression": "application/x-gzip"}),
    Bad("an unknown task", ["shop.gone", "registered"], headers={"task": "shop.gone"}),
    Bad("a task without a name", ["task"], headers={"task": None}),
    Bad("a call without an id", ["id"], headers={"id": None}),
    Bad("retries that are no number", ["retries"], headers={"retries": "many"}),
]  # fmt: skip
UNREADABLE = "an envelope that is none"


@dataclass
class After:
    """What a worker left behind."""

    letters: list[DeadLetter]
    stderr: str
    returncode: int
    results: dict[str, str]
    waiting: int


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> After:
    """All of them and some good ones were sent, and a worker ran until its queue was empty."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "shop.py").write_text(
        "from greenq import GreenQ\napp = GreenQ('shop')\n\n@app.task\ndef add(a, b):\n    return a + b\n"
    )
    (folder / "greenq.yaml").write_text("tasks: {max_body: 1MiB}")
    url = f"sqlite:///{folder / 'greenq.db'}"
    app = GreenQ("sender", {"broker": {"url": url}, "results": {"url": url}})
    # Every bad one is followed by a good one somewhere, and the last is good.
    messages = [bad.message() for bad in BAD]
    messages.append(Bad(UNREADABLE, []).message())
    assert app.broker.publish(messages, 10) == [None] * len(messages)
    with sqlite3.connect(folder / "greenq.db") as file:
        file.execute("UPDATE messages SET envelope = x'c1ff' WHERE id = (SELECT max(id) FROM messages)")
    good = [app.send_task("shop.add", (n, n)) for n in range(GOOD)]
    good.append(app.send_task("shop.add", (1,), task_id="too few arguments"))
    app.close()
    done = greenq("worker", "-A", "shop", "--pool", "threads", "-c", "4", "--burst", cwd=folder)
    with app.broker as broker:
        depth = broker.depth()["celery"]
        letters = broker.dead("celery")
    after = After(
        letters,
        done.stderr,
        done.returncode,
        {result.id: result.state for result in good},
        depth.ready + depth.delayed + depth.leased,
    )
    app.close()
    return after


def test_the_worker_goes_on_and_ends_well(after: After) -> None:
    assert after.returncode == 0, after.stderr
    assert after.waiting == 0


def test_good_messages_among_bad_ones_run(after: After) -> None:
    states = dict(after.results)
    assert states.pop("too few arguments") == "FAILURE"
    assert set(states.values()) == {"SUCCESS"}


def test_nothing_is_lost(after: After) -> None:
    assert len(after.letters) == len(BAD) + 1


def test_users_see_no_traceback_for_what_somebody_else_sent(after: After) -> None:
    before, _, _ = after.stderr.partition("too few arguments")
    assert "Traceback" not in "".join(line for line in before.splitlines() if "dead-letter" in line)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what.replace(" ", "_"))
def test_a_bad_message_is_kept_with_its_reason(bad: Bad, after: After) -> None:
    found = [letter for letter in after.letters if letter.message and letter.message.body == bad.body
             and letter.message.headers == bad.message().headers]  # fmt: skip
    assert len(found) == 1, [letter.reason for letter in after.letters]
    (letter,) = found
    assert letter.message is not None
    assert letter.message.content_type == bad.content_type
    assert len(letter.reason.splitlines()) == 1
    for pattern in bad.says:
        assert re.search(pattern, letter.reason), f"{pattern!r} is not in: {letter.reason}"


def test_an_envelope_that_cannot_be_read_is_kept_as_it_came(after: After) -> None:
    (letter,) = [letter for letter in after.letters if letter.message is None]
    assert letter.reason
    assert b"\xc1\xff" in letter.raw


def test_dead_letters_can_be_read_as_json_whatever_they_hold(tmp_path: Path) -> None:
    app = GreenQ(
        "sender", {"broker": {"url": f"sqlite:///{tmp_path / 'greenq.db'}"}, "results": {"url": None}}
    )
    app.broker.publish(
        [Bad("odd", [], body=b"\x00\xff\x1b[31m", headers={"task": "\x1b[31mred"}).message()], 10
    )
    app.close()
    (tmp_path / "shop.py").write_text("from greenq import GreenQ\napp = GreenQ('shop')\n")
    greenq("worker", "-A", "shop", "--pool", "threads", "--burst", cwd=tmp_path)
    (letter,) = json.loads(greenq("dead", "list", "--json", cwd=tmp_path).stdout)
    assert letter["headers"]["task"] == "\x1b[31mred"
    for command in (["dead", "list"], ["dead", "show", letter["key"]]):
        shown = greenq(*command, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "\x1b" not in shown.stdout
