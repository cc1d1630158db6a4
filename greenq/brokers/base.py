"""The Broker contract: carry messages, lease them to one process at a time, and settle each lease once.

`greenq.testing.brokers` checks everything that is written here against any implementation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenq.closing import Closing
from greenq.errors import ConfigError, GreenqError
from greenq.exchanges import Shape
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement
from greenq.radio import Radio

__all__ = ["Broker", "Guarantees"]

NO_BROADCASTS = (
    "this broker cannot send a message to every worker: leave broadcast out, or use RabbitMQ or Redis"
)


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What an implementation promises, and what it doesn't; `greenq doctor` and the manual print it.

    Parameters:
        survives_process: messages outlive the processes that sent them.
        shared: other processes see the same queues.
        exact_fetch: `fetch(n)` never takes more than `n` from the broker.
        priorities: how many distinct priorities there are.
        limits: what it does not do, one sentence each.
        urgent: the priority that runs first: 9, or 0 as Celery has it on Redis.
        timed_leases: a lease ends by time and anybody may reap it; else it ends with the process's
            connection, and the server returns by itself what was held.
        returns_in_front: what a dead process held, or was requeued, comes back before what was sent later.
        lists_queues: `depth` and `dead` know every queue; else those that this process used, declared or
            was told of by `expect`.
        longest_hold: seconds after which the server takes a delivery back that has no end yet; None never.
        ordered: messages of one queue and priority come in the order in which they were sent.
        leases: what a process held returns to the front of its queue when its lease runs out, and is
            suspect. False: the limits say what becomes of it, and what a living process gives back goes where
            the broker puts it.
        exchanges: the types of exchange that it has; none if messages can only be sent to queues.
        broadcasts: a message can be sent to every worker.
        arguments: queues can be declared with arguments, not durable, or to be deleted with their consumers.
        recognises: what was to be acknowledged under a lost lease is known when it comes back to the same
            process: it is acknowledged then, and not handed out again.
    """

    survives_process: bool
    shared: bool
    exact_fetch: bool
    priorities: int
    limits: tuple[str, ...] = ()
    urgent: int = 9
    timed_leases: bool = True
    returns_in_front: bool = True
    lists_queues: bool = True
    longest_hold: float | None = None
    ordered: bool = True
    leases: bool = True
    exchanges: tuple[str, ...] = ()
    broadcasts: bool = False
    arguments: bool = False
    recognises: bool = False

    @property
    def hands_over(self) -> bool:
        """Whether `Broker.take_over` can take a lease from a living process; else only the server can."""
        return self.timed_leases and self.leases


class Broker(Closing):
    """Carries messages between processes.

    Every call has a deadline and may be made from any thread or green thread at any time; a call waits as
    its caller's world waits and never stops a hub. Errors of the underlying library are translated:
    `BrokerUnreachable` when nobody answers, `BrokerError` otherwise.
    """

    guarantees: Guarantees
    """Of the class, or where the address decides, of the instance."""
    slots: int = 0
    """How many deliveries whoever fetches can have at once, those that run included, if each takes a slot
    from its fetch to its settlement; 0 if not. A broker whose server pushes may let so many be under way."""

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        """Send many in as few round trips as possible, and wait for the broker's confirmation.

        Parameters:
            timeout: seconds for the whole batch.

        Returns:
            For each message None, or the `PublishError` (`PublishTimeout`: it may have arrived) of this one.

        Raises:
            BrokerUnreachable: none was sent.
        """

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def lease(self, process: str, seconds: float) -> None:
        """Name this process and take its lease; needed once before `fetch`.

        Parameters:
            process: a name that no other process has or had.
            seconds: without a `renew` for so long, everything it fetched goes back.
        """

    @abstractmethod
    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        """Take up to `n` messages, leased to this process in the same atomic step.

        The first queue with something in it comes first; in a queue the more urgent, then age. Waits up to
        `timeout` seconds until there is at least one, without polling the broker and without burning
        CPU; returns an empty list after that, or at once after `wake`.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make a waiting `fetch` return now (a worker stops)."""

    @abstractmethod
    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        """End many leases in as few round trips as possible.

        Returns:
            For each True, or False if the lease had been lost; then nothing was changed.
        """

    @abstractmethod
    def renew(self) -> None:
        """Extend this process's lease by its full length. Called from a native thread, off every hub."""

    @abstractmethod
    def reap(self) -> int:
        """Return the deliveries of every process whose lease ran out to their queues; how many they were."""

    @abstractmethod
    def release(self, process: str, charge: bool = True) -> int:
        """Return the deliveries of a process that is known to be dead, or its own at its end.

        Parameters:
            charge: what comes back is suspect (see `Delivery.attempts`). False where the process was ended
                on purpose, for its own sake or for one known task's; its own are never suspect.
        """

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], timeout: float, withdraw: bool = False) -> list[bool]:
        """Count the next death of this process against these deliveries, before they are run.

        A broker that has no leases (`Guarantees.leases`) has no suspects and nothing to do here.

        Called again it counts no second time. What is requeued or put off meanwhile is not charged.

        Parameters:
            withdraw: count it against them no longer; `Delivery.attempts` is what it was.

        Returns:
            For each True, or False if its lease had been lost; then nothing was changed.
        """
        return [True] * len(deliveries)

    def take_over(self, process: str, id: str) -> list[Delivery]:
        """Lease what `process` holds of the task `id` to this process instead; its own leases of it are lost.

        Returns:
            The deliveries, with new tokens; none where only the server can take a lease away.
        """
        return []

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def declare(self, queues: Sequence[str]) -> None:
        """Make the queues known, so that `depth` lists them while they are empty."""

    def expect(self, queues: Sequence[str]) -> None:
        """Hear of queues that the configuration names, for a broker that can't list its own."""
        return

    def shape(self, shapes: Mapping[str, Shape]) -> None:
        """Hear how queues are made that are not plain ones, before anything else.

        Parameters:
            shapes: by the queue's name.

        Raises:
            ConfigError: it has no such exchanges or queues.
        """
        for shape in shapes.values():
            if problem := _beyond(shape, self.guarantees):
                raise ConfigError(f"queues.{shape.name}: {problem}")

    def attend(self, queue: str, node: str, timeout: float) -> str:
        """Begin to hear what is sent to a broadcast queue.

        Parameters:
            queue: its name, of one that `shape` was told of.
            node: whose own queue it is.
            timeout: seconds.

        Returns:
            The name of the queue to fetch from.
        """
        raise ConfigError(f"queues.{queue}: {NO_BROADCASTS}")

    def radio(self) -> Radio | None:
        """What remote control and events go over, made anew for each caller; None where there is none."""
        return None

    @abstractmethod
    def depth(self) -> dict[str, Depth]:
        """Every known queue, and how many messages wait in it."""

    def survey(self) -> dict[str, Depth]:
        """The same for people: with all that can be known, though it may take some seconds."""
        return self.depth()

    def upcoming(self, queues: Sequence[str], limit: int = 100) -> list[Delivery]:
        """Some of what waits for its time, the next due first: to look at, never to run or to settle.

        A message's `due` is set. Nothing where a broker cannot show what it holds back.
        """
        return []

    @abstractmethod
    def purge(self, queue: str) -> int:
        """Drop what waits in the queue, now or later; leased messages and dead letters stay."""

    @abstractmethod
    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters, of one queue or of all."""

    @abstractmethod
    def replay(self, key: str) -> bool:
        """Send a dead letter to its queue again, its attempts forgotten; False if it is not there.

        A dead letter whose envelope could not be read goes back as it came.
        """

    @abstractmethod
    def bury(self, queue: str | None = None) -> int:
        """Drop the dead letters of one queue or of all; how many they were."""

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files; leases are kept until `release` or their end. Idempotent."""


def _beyond(shape: Shape, guarantees: Guarantees) -> str | None:
    """What of a queue's shape a broker does not have, and what to do."""
    if shape.broadcast:
        return None if guarantees.broadcasts else NO_BROADCASTS
    if shape.exchange and shape.type not in guarantees.exchanges:
        kinds = " or ".join(guarantees.exchanges)
        return (
            f"this broker has no {shape.type} exchanges: make it one of {kinds}, or use RabbitMQ"
            if kinds
            else "this broker has no exchanges: leave exchange out, or use RabbitMQ or Redis"
        )
    if not guarantees.arguments and (shape.arguments or not shape.durable or shape.auto_delete):
        return "this broker keeps all queues alike: leave out arguments, durable and auto_delete"
    return None
