"""The application: two tasks, each an ordinary blocking function.

``greenq worker -A examples.linkcheck.tasks --pool gevent -c 1000`` runs a thousand of them at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from examples.linkcheck import fetch, pages
from greenq import GreenQ, Task

__all__ = ["app", "check_link", "check_page"]

app = GreenQ("linkcheck")

_LONGEST_WAIT = 60.0


@app.task(bind=True, name="linkcheck.page")
def check_page(self: Task[..., Any], url: str, scope: str, timeout: float, tries: int) -> dict[str, Any]:
    """Fetch an address of the site; if it is a page, read its links and anchors.

    Parameters:
        url: the address.
        scope: where the site begins; a page that redirects out of it is not read.
        timeout: seconds for one request.
        tries: requests made at most, while failures look passing.

    Returns:
        ``problem`` (None, or why it is dead) and ``tries``; of a page also ``anchors`` and ``links``
        (address → fragments linked to).
    """

    def check() -> dict[str, Any]:
        answer = fetch.fetch(url, timeout)
        if answer.kind not in ("text/html", "application/xhtml+xml") or not answer.url.startswith(scope):
            return {}
        page = pages.read(pages.text_of(answer.body, answer.charset), answer.url)
        return {"links": page.links, "anchors": page.anchors}

    return _checked(self, check, tries)


@app.task(bind=True, name="linkcheck.link")
def check_link(self: Task[..., Any], url: str, timeout: float, tries: int) -> dict[str, Any]:
    """Ask whether an address works, without reading it; parameters and answer as of `check_page`."""

    def check() -> dict[str, Any]:
        fetch.probe(url, timeout)
        return {}

    return _checked(self, check, tries)


def _checked(task: Task[..., Any], check: Callable[[], dict[str, Any]], tries: int) -> dict[str, Any]:
    """Run a check; a failure that looks passing is retried later and holds no slot until then."""
    attempt: int = task.request.retries + 1
    try:
        return {"problem": None, "tries": attempt, **check()}
    except fetch.Dead as error:
        return {"problem": str(error), "tries": attempt}
    except fetch.Transient as error:
        if attempt >= tries:
            times = f", {attempt} times" if attempt > 1 else ""
            return {"problem": f"{error}{times}", "tries": attempt}
        backoff = 0.5 * 2.0**attempt * random.uniform(0.5, 1.0)
        wait = min(error.after or backoff, _LONGEST_WAIT)
        raise task.retry(countdown=wait, exc=error, max_retries=tries) from error
