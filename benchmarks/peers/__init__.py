"""What a task queue must offer to be measured: one small file here for each.

A peer's module is imported twice: by the harness, which asks the class what to start, and inside the peer's
own environment by its worker and by `benchmarks.load`. `inside` tells which; there the module also defines
its application, with two tasks, and a function that fills the queue. One module may hold several classes, one
for each configuration; `variant` tells the application which of them is measured::

    if inside():
        app = ...
        def noop(): tick()                                # a task
        def sleep(seconds): tick(); time.sleep(seconds); tick()    # a task
        def load(task, count): ...                        # send `count` calls of "noop" or "sleep"

and, if it says so with `Peer.asks`, what a producer does with it::

        @contextmanager
        def asking(): yield ask                           # `ask()` calls "noop" and waits for its result
        def send_each(count): ...                         # send `count` calls of "noop", one by one
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

__all__ = [
    "CONCURRENCY", "INSIDE", "RABBIT", "REDIS", "RESULTS", "SECONDS", "VARIANT",
    "Peer", "concurrency", "inside", "keeps_results", "peers", "rabbit_url", "redis_url", "seconds",
    "variant",
]  # fmt: skip

CONCURRENCY = "BENCHMARKS_CONCURRENCY"
INSIDE = "BENCHMARKS_INSIDE"
REDIS = "BENCHMARKS_REDIS"
RABBIT = "BENCHMARKS_RABBIT"
RESULTS = "BENCHMARKS_RESULTS"
SECONDS = "BENCHMARKS_SECONDS"
VARIANT = "BENCHMARKS_VARIANT"


class Peer(ABC):
    """One system with one configuration.

    Attributes:
        name: what the table calls it; a class without one is the base of those that have.
        requirements: what pip installs into its own environment; empty for that of the harness.
        redis, rabbit: whether it needs the private Redis or RabbitMQ server.
        stores: whether it can keep results here.
        asks: whether its module has `asking` and `send_each`.
        many: whether it can run as many tasks at once as it is asked to.
        variant: which of the configurations in its module it is.
    """

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]] = ()
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = False
    stores: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    many: ClassVar[bool] = True
    variant: ClassVar[str] = ""

    @abstractmethod
    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker.

        Parameters:
            python: the interpreter of its environment.
            concurrency: how many tasks run at once.
        """


def inside() -> bool:
    """Tell whether this is the peer's environment, where its application is to be defined."""
    return INSIDE in os.environ


def redis_url() -> str:
    """The address of the private Redis server."""
    return os.environ[REDIS]


def rabbit_url() -> str:
    """The address of an empty virtual host on the private RabbitMQ server."""
    return os.environ[RABBIT]


def variant() -> str:
    """Which of the configurations in the peer's module is measured."""
    return os.environ[VARIANT]


def concurrency() -> int:
    """How many tasks are to run at once, where the command of the worker can't tell."""
    return int(os.environ[CONCURRENCY])


def keeps_results() -> bool:
    """Whether what the tasks return is to be stored."""
    return os.environ[RESULTS] == "1"


def seconds() -> float:
    """How long the task ``sleep`` sleeps."""
    return float(os.environ[SECONDS])


def peers() -> list[Peer]:
    """One of each, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        imported = importlib.import_module(f"{__name__}.{module.name}")
        members = [m for m in vars(imported).values() if isinstance(m, type) and issubclass(m, Peer)]
        found += [m() for m in members if m.__module__ == imported.__name__ and "name" in vars(m)]
    return sorted(found, key=lambda peer: peer.name)
