"""What a task queue must offer to be measured: one small file here for each.

A peer's module is imported twice: by the harness, which asks the class what to start, and inside the peer's
own environment by its worker and by the programs that send. `inside` tells which; there the module also
defines its application, which runs the functions of `benchmarks.tasks` (or `benchmarks.async_tasks`) under
their names, and what a producer does with it. One module may hold several classes, one for each
configuration; `variant` tells the application which of them is measured::

    if inside():
        app = ...
        calls = {name: app.task(name=name)(getattr(tasks, name)) for name in tasks.NAMES}
        def load(task, count): ...              # send `count` calls of it, in the quickest way
        def send_each(count): ...               # send `count` calls of "noop", one by one

and, if it says so with `Peer.asks`, `bulk` and `chords`::

        @contextmanager
        def asking(): yield ask                 # `ask()` calls "noop" and waits for its result
        def send_bulk(count): ...               # send `count` calls of "noop" together
        def chord(size): ...                    # run `size` of "noop", then one more, and wait for that
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

__all__ = [
    "CONCURRENCY", "INSIDE", "RABBIT", "REDIS", "RESULTS", "VARIANT",
    "Peer", "concurrency", "inside", "keeps_results", "peers", "rabbit_url", "redis_url", "variant",
]  # fmt: skip

CONCURRENCY = "BENCHMARKS_CONCURRENCY"
INSIDE = "BENCHMARKS_INSIDE"
REDIS = "BENCHMARKS_REDIS"
RABBIT = "BENCHMARKS_RABBIT"
RESULTS = "BENCHMARKS_RESULTS"
VARIANT = "BENCHMARKS_VARIANT"


class Peer(ABC):
    """One system with one configuration.

    Attributes:
        name: what the table calls it; a class without one is the base of those that have. Yardsticks, which
            are no task queues, have theirs in parentheses.
        requirements: what pip installs into its own environment; empty for that of the harness.
        redis, rabbit: whether it needs the private Redis or RabbitMQ server.
        stores: whether it can keep results here.
        sends: whether it is measured as a producer; not, where only the worker differs from another peer.
        asks: whether its module has `asking`.
        bulk: whether its module has `send_bulk`.
        chords: whether its module has `chord`.
        many: whether it can run as many tasks at once as it is asked to.
        scales: whether several processes of it can be asked for.
        chief: whether it is measured in those workloads too that not all peers are put through.
        only: the names of the workloads that it is for; all, if there are none.
        portion: how many tasks it is given, as a part of those that others get, so that the slow end in time
            and the quick run long enough to be measured.
        variant: which of the configurations in its module it is.
    """

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]] = ()
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = False
    stores: ClassVar[bool] = False
    sends: ClassVar[bool] = True
    asks: ClassVar[bool] = False
    bulk: ClassVar[bool] = False
    chords: ClassVar[bool] = False
    many: ClassVar[bool] = True
    scales: ClassVar[bool] = False
    chief: ClassVar[bool] = False
    only: ClassVar[tuple[str, ...]] = ()
    portion: ClassVar[float] = 1.0
    variant: ClassVar[str] = ""

    @abstractmethod
    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker.

        Parameters:
            python: the interpreter of its environment.
            concurrency: how many tasks run at once.
        """

    def workers(self, python: Path, concurrency: int, processes: int) -> list[list[str]]:
        """Give the commands that start so many worker processes; asked for more than one if it `scales`."""
        return [self.worker(python, concurrency)] * processes


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


def peers() -> list[Peer]:
    """One of each, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        imported = importlib.import_module(f"{__name__}.{module.name}")
        members = [m for m in vars(imported).values() if isinstance(m, type) and issubclass(m, Peer)]
        found += [m() for m in members if m.__module__ == imported.__name__ and "name" in vars(m)]
    return sorted(found, key=lambda peer: peer.name)
