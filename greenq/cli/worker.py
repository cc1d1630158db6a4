"""`greenq worker`: check what was asked for, then become the supervisor of the workers."""

from __future__ import annotations

import os
from typing import Any

import click

from greenq.cli import options

__all__ = ["overrides", "worker"]

KEYS = {
    "app": ("app", "--app"),
    "pool": ("worker.pool", "--pool"),
    "concurrency": ("worker.concurrency", "--concurrency"),
    "queues": ("worker.queues", "--queues"),
    "node": ("worker.node", "--node"),
    "processes": ("worker.processes", "--processes"),
    "prefetch": ("worker.prefetch", "--prefetch"),
    "time_limit": ("tasks.time_limit", "--time-limit"),
    "soft_time_limit": ("tasks.soft_time_limit", "--soft-time-limit"),
    "autoscale": ("worker.autoscale", "--autoscale"),
    "task_events": ("events.tasks", "--task-events"),
    "max_tasks": ("worker.max_tasks", "--max-tasks"),
    "max_age": ("worker.max_age", "--max-age"),
    "max_memory": ("worker.max_memory", "--max-memory"),
    "health": ("worker.health", "--health"),
    "pidfile": ("worker.pidfile", "--pidfile"),
    "loglevel": ("log.level", "--loglevel"),
    "logformat": ("log.format", "--logformat"),
}
"""Parameter → the setting that it overrides, and its name in messages."""

LEVELS = ["debug", "info", "warning", "error", "critical"]


def complete_pool(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The pools whose names begin so."""
    from pools.table import names

    return [name for name in names() if name.startswith(incomplete)]


@click.command()
@options.app_option("The application, as module or module:attribute.")
@click.option("-P", "--pool", metavar="NAME", shell_complete=complete_pool,
              help="gevent, eventlet, prefork, threads, solo or asyncio.")  # fmt: skip
@click.option("-c", "--concurrency", metavar="N", help="How many tasks run at once in each process.")
@click.option("--autoscale", metavar="MAX,MIN", help="Choose how many run at once, by what waits.")
@click.option("-E", "--task-events", is_flag=True, default=None, help="Tell what happens to tasks.")
@click.option("-Q", "--queues", metavar="NAMES", multiple=True, help="Take from these: a,b; repeatable.")
@click.option("-n", "--node", metavar="NAME", help="Its name; %h is the host, %i the process's number.")
@click.option("--processes", metavar="N", help="How many worker processes run side by side.")
@click.option("--prefetch", metavar="N", help="Messages it may hold beyond those it can start now.")
@click.option("--time-limit", metavar="TIME", help="End a task after so long: 90s, 5m.")
@click.option("--soft-time-limit", metavar="TIME", help="Raise SoftTimeLimitExceeded in it after so long.")
@click.option("--max-tasks", metavar="N", help="Replace a process after so many tasks.")
@click.option("--max-age", metavar="TIME", help="Replace a process at this age: 12h.")
@click.option("--max-memory", metavar="SIZE", help="Replace a process that has grown larger: 512MiB.")
@click.option("--health", metavar="PLACE", help="Answer GET /live and /ready on host:port or a Unix socket.")
@click.option("--pidfile", metavar="FILE", help="Write the process id there; refused while one holds it.")
@click.option("-l", "--loglevel", metavar="LEVEL", shell_complete=options.one_of(LEVELS),
              help="debug, info, warning, error or critical.")  # fmt: skip
@click.option("--logformat", metavar="FORMAT", shell_complete=options.one_of(["text", "json"]),
              help="text for people, json for one object a line.")  # fmt: skip
@options.config_option()
@click.option("--burst", is_flag=True, help="Exit when the queues are empty.")
def worker(config: str | None, burst: bool, **given: Any) -> None:
    """Run an application's tasks until it is told to stop.

    \b
    greenq worker -A shop.tasks --pool gevent -c 1000
    greenq worker -A shop.tasks:app --pool prefork -Q mail,celery --burst

    SIGTERM or Ctrl-C: running tasks finish, then it exits. A second one: they are put back and it exits.
    Closing the terminal stops it too. SIGHUP: processes are replaced one by one. Each option overrides the
    setting of the same name in greenq.yaml; what the chosen pool can't honour is refused with the reason.
    """
    from greenq.cli import loading
    from greenq.config import load
    from greenq.errors import AppError
    from greenq.locating import find
    from greenq.worker.supervision.command import launch

    chosen = overrides(given)
    configuration = load(config, overrides=chosen, names=loading.names())
    settings = configuration.settings
    if settings.app is None:
        raise AppError("which application? Say -A module:attribute, or set app: in greenq.yaml")
    find(settings.app)
    require_package(settings.worker.pool)
    launch(
        {
            "app": settings.app,
            "config": os.path.abspath(config) if config else None,
            "overrides": {key: list(pair) for key, pair in chosen.items()},
            "processes": settings.worker.processes,
            "burst": burst,
            "shutdown_timeout": settings.worker.shutdown_timeout,
            "health": settings.worker.health,
            "pidfile": settings.worker.pidfile,
        }
    )


def overrides(given: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """What the command line sets, as `greenq.config.load` takes it.

    Parameters:
        given: the command's parameters by name; None or empty where it said nothing.
    """
    chosen = {}
    for name, (key, option) in KEYS.items():
        value = given[name]
        if name == "queues":
            value = options.comma_list(value) if value else None
        if value is not None:
            chosen[key] = (value, option)
    return chosen


def require_package(pool: str) -> None:
    """Check that a green pool's library is installed, without importing it: it must not be, before patching.

    Raises:
        ConfigError: it isn't.
    """
    from importlib.util import find_spec

    from greenq.errors import ConfigError
    from pools.table import names

    if pool in ("gevent", "eventlet") and find_spec(pool) is None:
        others = ", ".join(name for name in names() if name not in ("gevent", "eventlet"))
        extra = '"greenq[eventlet]"' if pool == "eventlet" else pool
        raise ConfigError(
            f"the {pool} pool needs the package {pool}, which is not installed: "
            f"pip install {extra}, or choose another of {others}"
        )
