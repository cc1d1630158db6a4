"""Checks of `greenq doctor` that look at what the configuration names: application, pool, broker, store."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from greenq.brokers.base import Guarantees
from greenq.cli import loading
from greenq.cli.finding import Finding, fail, ok, warn
from greenq.cli.rehearsal import rehearse
from greenq.cli.screen import count
from greenq.config import Configuration, load
from greenq.config.masking import mask
from greenq.errors import ConfigError, GreenqError
from pools.errors import PoolError

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["adoption", "app_and_pool", "broker", "configuration", "store"]


def configuration(path: str | None, app: str | None) -> tuple[Configuration | None, list[Finding]]:
    """Load the configuration; None if it has a mistake."""
    overrides = {"app": (app, "--app")} if app else {}
    try:
        found = load(path, overrides=overrides, names=loading.names())
    except ConfigError as error:
        return None, [
            fail("config", line, "correct it; greenq config check looks at it again")
            for line in str(error).splitlines()
        ]
    variables = sorted(name for name in os.environ if name.startswith("GREENQ_") and name != "GREENQ_CONFIG")
    text = str(found.path) if found.path else "no greenq.yaml here: every setting has its default"
    return found, [ok("config", f"{text}{f', and {loading.some(variables)}' if variables else ''}")]


def app_and_pool(found: Configuration) -> Generator[Finding, None, str | None]:
    """Whether the pool can be had, what patching does for it, and whether the application can be imported.

    Returns:
        The application's name, if its import succeeds.
    """
    settings = found.settings
    pool = settings.worker.pool
    from greenq.cli.worker import require_package

    try:
        require_package(pool)
    except (ConfigError, PoolError) as error:
        yield fail("pool", str(error), "install the package, or change worker.pool")
        return None
    report = rehearse(pool, settings.app)
    if report["patch"]:
        yield fail("pool", f"{pool}: {report['patch']}", "greenq worker would refuse to start like this")
    elif report["unpatched"]:
        yield fail(
            "pool",
            f"{pool}: not green after patching: {', '.join(report['unpatched'])}",
            "something imported them too early, such as a .pth file or sitecustomize: remove it",
        )
    elif pool in ("gevent", "eventlet"):
        yield ok(
            "pool",
            f"{pool}: greenq worker makes the standard library green before it imports the application",
        )
    else:
        yield ok("pool", f"{pool}: nothing is patched")
    if report["resolver"]:
        yield ok("pool", report["resolver"])
    if report["app"]:
        yield fail("app", f"{settings.app}: {report['app']}", "greenq worker would refuse to start like this")
    elif settings.app is None:
        yield ok("app", "none is named: say -A to have its import checked")
    elif not report["tasks"]:
        yield warn(
            "app",
            f"{settings.app} has no tasks",
            "decorate functions with @app.task, and import their modules",
        )
    else:
        yield ok("app", f"{settings.app} has {count(report['tasks'], 'task')}")
    return None if report["app"] or report["patch"] else settings.app


def adoption(owner: GreenQ) -> Iterator[Finding]:
    """What of an application of another library behaves differently here."""
    if owner.adopted is None:
        return
    differences = owner.differences()
    for text, advice in differences:
        yield warn("adopted", text, advice)
    if not differences:
        yield ok("adopted", f"the {owner.adopted} uses nothing that behaves differently here")


def broker(owner: GreenQ) -> Iterator[Finding]:
    """Whether the broker answers, and what it promises."""
    address = mask(owner.settings.broker.url)
    try:
        began = time.monotonic()
        depths = owner.broker.depth()
        took = time.monotonic() - began
    except GreenqError as error:
        yield fail("broker", f"{address}: {error}", "start it, or correct broker.url")
        return
    yield ok("broker", f"{address} answered in {took * 1000:.1f} ms")
    yield from _promises(owner.broker.guarantees)
    if dead := sum(depth.dead for depth in depths.values()):
        yield warn(
            "dead",
            f"{count(dead, 'message')} given up",
            "greenq dead list shows why; replay or purge them",
        )


def store(owner: GreenQ) -> Iterator[Finding]:
    """Whether the result store answers."""
    settings = owner.settings.results
    if settings.url is None:
        yield ok("results", "none are kept (results.url is null)")
        return
    address = mask(settings.url)
    try:
        began = time.monotonic()
        if owner.results is not None:
            owner.results.get(["greenq-doctor"], settings.timeout)
        took = time.monotonic() - began
    except GreenqError as error:
        yield fail("results", f"{address}: {error}", "start it, or correct results.url")
    else:
        yield ok("results", f"{address} answered in {took * 1000:.1f} ms")


def _promises(guarantees: Guarantees) -> Iterator[Finding]:
    if not guarantees.shared:
        yield warn(
            "broker",
            "its messages stay in one process and end with it",
            "use it in tests only; sqlite:///greenq.db is shared by the processes of a machine",
        )
        return
    kept = "messages outlive processes" if guarantees.survives_process else "messages end with their process"
    yield ok("broker", f"{kept}, {guarantees.priorities} priorities")
    for limit in guarantees.limits:
        yield ok("broker", limit)
