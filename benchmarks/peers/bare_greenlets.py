"""What gevent itself allows for tasks that wait: green threads, and no queue around them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.peers import Peer, inside, variant


class BareGreenlets(Peer):
    """Takes its orders from files."""

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


class BareSleeps(BareGreenlets):
    """A green thread for each task, which has nothing on its stack but the wait."""

    name: ClassVar[str] = "(bare gevent.spawn of gevent.sleep)"
    variant: ClassVar[str] = "sleeps"
    only: ClassVar[tuple[str, ...]] = ("memory",)


class BareFetches(BareGreenlets):
    """As many green threads as there are slots, each of which runs one task after the other."""

    name: ClassVar[str] = "(bare gevent threads)"
    variant: ClassVar[str] = "fetches"
    only: ClassVar[tuple[str, ...]] = ("http", "sleep-100ms-c1000", "sleep-100ms-c10000")


if inside():
    from gevent import monkey

    if variant() == "fetches":
        monkey.patch_all()

    import gevent

    from benchmarks import peers, tasks
    from benchmarks.ledger import tick

    def load(task: str, count: int) -> None:
        partial = Path("order.partial")
        partial.write_text(f"{task} {count}")
        partial.rename(f"{task}.order")

    def hold(task: str, count: int) -> list[object]:
        duration = tasks.arguments(task).get("duration", 0.0)
        held: list[object] = [gevent.spawn(gevent.sleep, duration) for _ in range(count)]
        gevent.sleep(0)
        for _ in range(count):
            tick()
        return held

    def work(task: str, count: int) -> None:
        run, arguments = getattr(tasks, task), tasks.arguments(task)
        left = iter(range(count))

        def slot() -> None:
            for _ in left:
                run(**arguments)

        gevent.joinall([gevent.spawn(slot) for _ in range(peers.concurrency())])

    def main() -> None:
        held: list[object] = []
        while True:
            gevent.sleep(0.02)
            for order in Path().glob("*.order"):
                task, count = order.read_text().split()
                order.unlink()
                if variant() == "sleeps":
                    held += hold(task, int(count))
                else:
                    work(task, int(count))

    if __name__ == "__main__":
        main()
