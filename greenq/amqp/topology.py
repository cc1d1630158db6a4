"""Queues and exchanges as Celery declares them, and the delay queues that are greenq's own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from struct import unpack_from

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.failures import Failure, Refused
from greenq.amqp.line import Session
from greenq.exchanges import Shape

__all__ = [
    "LEVELS", "LONGEST_WAIT", "Topology", "count_of", "dead_name", "delay_name", "delay_route",
    "returned_name", "ticks", "trial_name",
]  # fmt: skip

TICK = 0.25
"""Seconds of the shortest delay queue; each further one waits twice as long."""
LEVELS = 30
"""Delay queues of one queue at most: together eight years."""
LONGEST_WAIT = TICK * ((1 << LEVELS) - 8)
"""Seconds that a message can wait in one go."""
TRIAL_LASTS = 0.6
"""Seconds after which the server moves what nobody holds from a trial queue to where workers look first: long
enough to take a copy that was just sent, and how long what dies right after may take to return."""
RETURNED_LASTS = 10.0
"""Seconds after which it moves what no worker of ours has taken from there to the queue that it came from."""
UNUSED = 60.0
"""Seconds after which a queue that is to be deleted with its last consumer is, when nobody takes from it."""
MISSING = 404
DIFFERENT = 406
FORBIDDEN = 403


def dead_name(queue: str) -> str:
    """Where a queue's dead letters are."""
    return _fitting(f"{queue}.dead", "dead", queue)


def delay_name(queue: str, level: int) -> str:
    """Where messages for a queue wait 2 to the power of `level` ticks."""
    return _fitting(f"greenq.delay.{queue}.{level}", f"greenq.delay.{level}", queue)


def trial_name(queue: str) -> str:
    """Where a queue's suspects are charged."""
    return _fitting(f"greenq.delay.{queue}.trial", "greenq.delay.trial", queue)


def returned_name(queue: str) -> str:
    """Where suspects of a queue return whose process has died during their trial."""
    return _fitting(f"greenq.delay.{queue}.returned", "greenq.delay.returned", queue)


def _fitting(name: str, what: str, queue: str) -> str:
    return name if len(name.encode("utf-8", "replace")) <= 255 else f"{what}.{_digest(queue)}"


def _digest(queue: str) -> str:
    return hashlib.sha256(queue.encode("utf-8", "replace")).hexdigest()[:20]


def ticks(due: float) -> int:
    """How many ticks a message has to wait, rounded up so that it is never early; 0 if it is due."""
    left = due - time.time()
    return 0 if left <= 0 else int(left / TICK) + 1


def delay_route(queue: str, count: int) -> tuple[str, str]:
    """The exchange and the routing key of a message that waits `count` ticks."""
    bits = format(count, f"0{LEVELS}b")
    return f"greenq.delay.{count.bit_length() - 1}", f"{'.'.join(bits)}.{_digest(queue)}"


def count_of(payload: bytes) -> int:
    """How many messages were ready, as the answer to a queue's declaration says."""
    at = 5 + payload[4]
    (count,) = unpack_from(">I", payload, at)
    return int(count)


class Topology:
    """Declares what is needed, once in each session.

    Attributes:
        shapes: the queues that are no plain ones, by name.
    """

    def __init__(self, address: Address) -> None:
        self.shapes: dict[str, Shape] = {}
        self._arguments: dict[str, object] = {}
        if address.queue_type == "quorum":
            self._arguments["x-queue-type"] = "quorum"
        if address.max_priority is not None:
            self._arguments["x-max-priority"] = address.max_priority

    def ensure(self, session: Session, queues: Iterable[str], deadline: float) -> dict[str, Failure]:
        """Make queues that are not there, as Celery would; one that is there is taken as it is.

        Returns:
            Those that cannot be had, and why.
        """
        wanted = [queue for queue in dict.fromkeys(queues) if queue not in session.declared]
        if not wanted:
            return {}
        looks = [methods.declare_queue(1, queue, passive=True) for queue in wanted]
        problems: dict[str, Failure] = {}
        for queue, found in zip(wanted, session.aside(looks, deadline), strict=True):
            problem: Failure | None = found if isinstance(found, Refused) else None
            if isinstance(found, Refused) and found.code == MISSING:
                problem = self._make(session, queue, deadline)
            if problem is None and queue in self.shapes:
                problem = self._bind(session, self.shapes[queue], deadline)
            if problem is None:
                session.declared.add(queue)
            else:
                problems[queue] = problem
        return problems

    def _make(self, session: Session, queue: str, deadline: float) -> Failure | None:
        shape = self.shapes.get(queue)
        arguments, durable = self._arguments, True
        if shape is not None:
            # Each message is taken with a consumer of its own: a queue with the server's own flag for this
            # would be gone after the first.
            fleeting = {"x-expires": int(UNUSED * 1000)} if shape.auto_delete else {}
            arguments, durable = {**arguments, **fleeting, **shape.arguments}, shape.durable
        declare = methods.declare_queue(1, queue, durable=durable, arguments=arguments)
        try:
            session.together([declare], deadline)
        except Refused as refused:
            # Somebody else made it in the meantime, otherwise than we would: it is taken as it is.
            if refused.code != DIFFERENT:
                return refused
            again = session.aside([methods.declare_queue(1, queue, passive=True)], deadline)[0]
            return again if isinstance(again, Refused) else None
        exchange = [
            methods.declare_exchange(1, queue, "direct"),
            methods.bind_queue(1, queue, queue, queue),
        ]
        try:
            session.together(exchange, deadline)
        except Refused:
            # greenq sends through the default exchange, as Celery does: it works without one of its own,
            # and a name may belong to an exchange of another type, or be forbidden.
            return None
        return None

    def _bind(self, session: Session, shape: Shape, deadline: float) -> Failure | None:
        """Let the queue's exchange find it; why that cannot be, else None."""
        if not shape.exchange:
            return None
        frames = [methods.declare_exchange(1, shape.exchange, shape.type)]
        frames += [
            methods.bind_queue(1, shape.name, shape.exchange, key, shape.binding_arguments)
            for key in shape.keys
        ]
        try:
            session.together(frames, deadline)
        except Refused as refused:
            return refused
        session.exchanges.add(shape.exchange)
        return None

    def ensure_exchange(self, session: Session, exchange: str, deadline: float) -> None:
        """Make an exchange that the configuration knows, and the queues that it binds there; look for others.

        Raises:
            Failure: it is not there, or cannot be had.
        """
        if exchange in session.exchanges:
            return
        bound = [shape for shape in self.shapes.values() if shape.exchange == exchange]
        if bound:
            names = [shape.name for shape in bound if not shape.broadcast]
            for problem in self.ensure(session, names, deadline).values():
                raise problem
            session.together([methods.declare_exchange(1, exchange, bound[0].type)], deadline)
        else:
            look = methods.declare_exchange(1, exchange, "direct", passive=True)
            looked = session.aside([look], deadline)[0]
            if isinstance(looked, Refused):
                raise looked
        session.exchanges.add(exchange)

    def ensure_exit(self, session: Session, exchange: str, key: str, deadline: float) -> str:
        """Make the queue that hands what has waited to an exchange; its name.

        Raises:
            Refused: the server does not let us.
        """
        name = _fitting(f"greenq.delay.exit.{exchange}.{key}", "greenq.delay.exit", f"{exchange}\0{key}")
        if name not in session.declared:
            arguments = {
                "x-message-ttl": 0,
                "x-dead-letter-exchange": exchange,
                "x-dead-letter-routing-key": key,
            }
            session.together([methods.declare_queue(1, name, arguments=arguments)], deadline)
            session.declared.add(name)
        return name

    def ensure_dead(self, session: Session, queue: str, deadline: float) -> None:
        """Make the queue of dead letters; it has no priorities.

        Raises:
            Refused: the server does not let us.
        """
        name = dead_name(queue)
        if name in session.declared:
            return
        arguments = {key: value for key, value in self._arguments.items() if key == "x-queue-type"}
        try:
            session.together([methods.declare_queue(1, name, arguments=arguments)], deadline)
        except Refused as refused:
            if refused.code != DIFFERENT:
                raise
        session.declared.add(name)

    def returns_apart(self, queue: str) -> bool:
        """Whether what dies during its trial returns to a queue of its own, not of fleeting ones."""
        shape = self.shapes.get(queue)
        return shape is None or (
            shape.durable and not shape.auto_delete and "x-expires" not in shape.arguments
        )

    def ensure_trial(self, session: Session, queue: str, deadline: float) -> None:
        """Make the queue where suspects are charged, and the one to which they return.

        Raises:
            Refused: the server does not let us.
        """
        name = trial_name(queue)
        if name in session.declared:
            return
        frames = []
        back = queue
        if self.returns_apart(queue):
            back = returned_name(queue)
            frames.append(methods.declare_queue(1, back, arguments=_moving(RETURNED_LASTS, queue)))
        frames.append(methods.declare_queue(1, name, arguments=_moving(TRIAL_LASTS, back)))
        session.together(frames, deadline)
        session.declared.add(name)

    def ensure_delay(self, session: Session, queue: str, count: int, deadline: float) -> None:
        """Make the exchanges and queues that a message for `queue` passes which waits `count` ticks.

        Each bit of the count is one queue; what expires in one goes to the exchange of the next lower bit.

        Raises:
            Refused: the server does not let us.
        """
        frames = []
        known = session.delays
        highest = count.bit_length() - 1
        new: list[object] = []
        for level in range(-1, highest + 1):
            if level not in known:
                new.append(level)
                frames.append(methods.declare_exchange(1, _exchange(level), "topic"))
                if level >= 0:
                    key = ".".join(["*"] * (LEVELS - 1 - level) + ["0", "#"])
                    frames.append(methods.bind_exchange(1, _exchange(level - 1), _exchange(level), key))
        if queue not in known:
            new.append(queue)
            frames.append(methods.bind_queue(1, queue, _exchange(-1), f"#.{_digest(queue)}"))
        for level in range(highest + 1):
            if count >> level & 1 and (queue, level) not in known:
                new.append((queue, level))
                frames += self._delay_queue(queue, level)
        if frames:
            session.together(frames, deadline)
            known.update(new)

    def _delay_queue(self, queue: str, level: int) -> list[bytes]:
        name = delay_name(queue, level)
        arguments = {
            "x-message-ttl": int(TICK * 1000) << level,
            "x-dead-letter-exchange": _exchange(level - 1),
        }
        key = ".".join(["*"] * (LEVELS - 1 - level) + ["1"] + ["*"] * level + [_digest(queue)])
        return [
            methods.declare_queue(1, name, arguments=arguments),
            methods.bind_queue(1, name, _exchange(level), key),
        ]


def _moving(after: float, queue: str) -> dict[str, object]:
    """Arguments of a queue whose messages the server moves to another when they have been there so long."""
    return {
        "x-message-ttl": int(after * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }


def _exchange(level: int) -> str:
    return "greenq.delay.out" if level < 0 else f"greenq.delay.{level}"
