"""huey with its greenlet workers, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import tasks
from benchmarks.peers import Peer, inside, keeps_results, redis_url


class Huey(Peer):
    """At most once: a message is gone when it is read."""

    name: ClassVar[str] = "huey greenlet, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("huey==3.5.4", "redis", "hiredis", "gevent==26.9.0")
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.5

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["-k", "greenlet", "-w", str(concurrency), "-q"]
        return [str(python.parent / "huey_consumer"), f"{__name__}.app", *options]


if inside():
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    # As huey's manual has it: the consumer does not patch by itself.
    from gevent import monkey

    monkey.patch_all()

    from typing import Any

    import huey  # type: ignore[import-untyped, import-not-found, unused-ignore]

    app: Any = huey.RedisHuey(
        "bench", url=f"{redis_url()}?max_connections=20000", results=keeps_results(), store_none=True
    )
    calls: dict[str, Any] = {name: app.task(name=name)(getattr(tasks, name)) for name in tasks.NAMES}
    noop = calls["noop"]

    def load(task: str, count: int) -> None:
        arguments = tasks.arguments(task)
        for _ in range(count):
            calls[task](**arguments)

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop().get(blocking=True, timeout=30, backoff=1)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop()
