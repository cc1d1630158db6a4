"""What a task queue must offer to be measured: one small file here for each.

A peer's module is imported twice: by the harness, which asks the class what to start, and inside the peer's
own environment by its worker and by `benchmarks.load`. `inside` tells which; there the module also defines
its application, with two tasks, and a function that fills the queue::

    if inside():
        app = ...
        def noop(): tick()                                # a task
        def sleep(seconds): tick(); time.sleep(seconds); tick()    # a task
        def load(task, count): ...                        # send `count` calls of "noop" or "sleep"
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

__all__ = ["INSIDE", "REDIS", "SECONDS", "Peer", "inside", "peers", "redis_url", "seconds"]

INSIDE = "BENCHMARKS_INSIDE"
REDIS = "BENCHMARKS_REDIS"
SECONDS = "BENCHMARKS_SECONDS"


class Peer(ABC):
    """One system with one configuration.

    Attributes:
        name: what the table calls it.
        requirements: what pip installs into its own environment; empty for that of the harness.
        redis: whether it needs the private Redis server.
    """

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]] = ()
    redis: ClassVar[bool] = False

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


def seconds() -> float:
    """How long the task ``sleep`` sleeps."""
    return float(os.environ[SECONDS])


def peers() -> list[Peer]:
    """One of each, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        members = vars(importlib.import_module(f"{__name__}.{module.name}")).values()
        found += [m() for m in members if isinstance(m, type) and issubclass(m, Peer) and m is not Peer]
    return sorted(found, key=lambda peer: peer.name)
