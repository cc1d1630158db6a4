"""What gevent itself needs for what waits."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import tasks
from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside


class BareGreenlets(Peer):
    """A green thread for each task, and nothing around it."""

    name: ClassVar[str] = "(bare gevent.spawn of gevent.sleep)"
    only: ClassVar[tuple[str, ...]] = ("memory",)

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


if inside():
    import gevent

    def load(task: str, count: int) -> None:
        partial = Path("order.partial")
        partial.write_text(f"{task} {count}")
        partial.rename(f"{task}.order")

    def send_each(count: int) -> None:
        load("noop", count)

    def main() -> None:
        held = []
        while True:
            gevent.sleep(0.02)
            for order in Path().glob("*.order"):
                task, count = order.read_text().split()
                order.unlink()
                if task == "sleep":
                    duration = tasks.arguments(task)["duration"]
                    held += [gevent.spawn(gevent.sleep, duration) for _ in range(int(count))]
                    gevent.sleep(0)
                for _ in range(int(count)):
                    tick()

    if __name__ == "__main__":
        main()
