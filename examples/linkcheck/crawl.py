"""Drive a check: send what is known and not checked, take in what came back, until nothing is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from examples.linkcheck.ledger import Ledger, Target
from examples.linkcheck.tasks import app, check_link, check_page
from greenq.errors import GreenqError
from greenq.message import SUCCESS, Result

__all__ = ["Rules", "Stalled", "crawl"]

_NOT_PAGES = frozenset(
    f".{ending}"
    for ending in (
        *("css", "gif", "gz", "ico", "inv", "jpeg", "jpg", "js", "json", "map", "pdf", "png", "svg", "tar"),
        *("tgz", "txt", "webp", "woff", "woff2", "xml", "zip"),
    )
)
"""Endings of what can't be a page: HEAD is enough for them."""
_PAUSE = 0.01
"""Seconds between two looks at the results: each look then finds many."""
_TELL_EVERY = 0.1
"""Seconds between two calls of `each` and `alive`."""


class Stalled(GreenqError):
    """No check has ended for a long time: is a worker running, and with the same configuration?"""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to check.

    Parameters:
        timeout: seconds for one request.
        tries: requests to one address at most.
        at_once: checks that are sent and not yet back at most; bounds queue, results and memory.
        external: check outside addresses too.
        per_host: requests at once to one outside host at most.
        patience: seconds without any result before giving up; None derives it from `timeout` and `tries`.
    """

    timeout: float = 10.0
    tries: int = 3
    at_once: int = 2000
    external: bool = False
    per_host: int = 2
    patience: float | None = None


class _Waiting:
    """The checks that were sent and are not back, by task id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Target] = {}
        self.hosts: Counter[str] = Counter()

    def add(self, task_id: str, target: Target) -> None:
        self.by_id[task_id] = target
        if not target.inside:
            self.hosts[target.host] += 1

    def take(self, task_id: str) -> Target:
        target = self.by_id.pop(task_id)
        if not target.inside:
            self.hosts[target.host] -= 1
        return target


def crawl(
    ledger: Ledger, scope: str, rules: Rules, each: Callable[[int, int, int], None], alive: Callable[[], None]
) -> None:
    """Check everything that can be reached from what is in the ledger.

    Parameters:
        scope: addresses that begin with it are pages to read, others only links to check.
        each: called with addresses done, known, and being checked.
        alive: called now and then; raises if going on makes no sense.

    Raises:
        Stalled: nothing came back for too long.
    """
    waiting = _Waiting()
    patience = rules.patience or rules.tries * (rules.timeout + 60.0) + 30.0
    last = told = time.monotonic()
    while True:
        _send(ledger, scope, rules, waiting)
        if not waiting.by_id:
            return
        if time.monotonic() - told >= _TELL_EVERY:
            alive()
            each(*ledger.progress(), len(waiting.by_id))
            told = time.monotonic()
        ended = _collect(waiting)
        if ended:
            ledger.record(ended)
            last = time.monotonic()
        elif time.monotonic() - last > patience:
            raise Stalled


def _send(ledger: Ledger, scope: str, rules: Rules, waiting: _Waiting) -> None:
    room = rules.at_once - len(waiting.by_id)
    targets = ledger.next_inside(room)
    if rules.external:
        targets += ledger.next_outside(room - len(targets), waiting.hosts, rules.per_host)
    if not targets:
        return
    ledger.sent(targets)
    pages = [target for target in targets if target.inside and not _is_file(target.url)]
    links = [target for target in targets if not target.inside or _is_file(target.url)]
    calls = [check_page.call(target.url, scope, rules.timeout, rules.tries) for target in pages]
    calls += [check_link.call(target.url, rules.timeout, rules.tries) for target in links]
    for result, target in zip(app.send_many(calls), pages + links, strict=True):
        waiting.add(result.id, target)


def _collect(waiting: _Waiting) -> list[tuple[Target, dict[str, Any]]]:
    """What came back since the last look; waits for the first for a second at most."""
    time.sleep(_PAUSE)
    store = app.results
    assert store is not None
    results = store.wait(waiting.by_id, 1.0)
    store.forget(results)
    return [(waiting.take(task_id), _found(result)) for task_id, result in results.items()]


def _found(result: Result) -> dict[str, Any]:
    if result.state == SUCCESS:
        found: dict[str, Any] = result.value
        return found
    error = result.value if isinstance(result.value, dict) else {}
    reason = f"{error.get('exc_type', result.state)}: {error.get('exc_message', '')}"
    return {"problem": f"could not be checked: {reason}", "tries": 1}


def _is_file(url: str) -> bool:
    return PurePosixPath(urlsplit(url).path).suffix.lower() in _NOT_PAGES
