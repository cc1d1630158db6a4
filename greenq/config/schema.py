"""Every setting of greenq: its type, its default, and what it is for.

The loader, the JSON schema, `greenq config show` and the manual's table are all made from these classes.
`key` gives the help text, and for a number its unit: durations are read as ``30s``, ``5m``, ``1d`` and held
in seconds, sizes are read as ``64KiB`` and held in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "BrokerSettings",
    "ControlSettings",
    "EventSettings",
    "LogSettings",
    "QueueSettings",
    "ResultSettings",
    "Route",
    "Settings",
    "TaskSettings",
    "ThrottlingSettings",
    "WorkerSettings",
    "key",
]

Unit = Literal[
    "seconds", "bytes", "url", "dotted", "class", "queue", "node", "serializer", "compression", "pool"
]  # fmt: skip


def key(
    help: str,
    default: Any = None,
    *,
    unit: Unit | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    required: bool = False,
    example: str = "",
) -> Any:
    """Declare one setting.

    Parameters:
        help: one sentence for people.
        default: its value when nobody sets it.
        unit: how its text is read, or what its name must be one of.
        least, most: bounds, inclusive, in the held unit.
        choices: the only values allowed.
        required: an entry of a list must name it.
        example: a value as written in YAML, for the manual and the starter file.
    """
    about = {
        "help": help, "unit": unit, "least": least, "most": most,
        "choices": choices, "required": required, "example": example,
    }  # fmt: skip
    # An address may hold a password, so it never shows in a repr.
    shown = unit != "url"
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=about, repr=shown)
    return field(default=default, metadata=about, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where messages go."""

    url: str = key("Address of the broker.", "sqlite:///greenq.db", unit="url")
    publish_timeout: float = key(
        "How long sending may take, confirmation included, before it is an error.",
        10.0, unit="seconds", least=0.01,
    )  # fmt: skip
    timeout: float = key("How long any other call to the broker may take.", 30.0, unit="seconds", least=0.01)
    patience: float | None = key(
        "How long a worker waits for a broker that is away before the command ends with exit code 69; "
        "null for ever.",
        None, unit="seconds", least=1, example="10m",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSettings:
    """Where results are kept."""

    url: str | None = key(
        "Address of the result store; null keeps no results.", "sqlite:///greenq.db", unit="url"
    )
    expires: float | None = key(
        "How long a result is kept; null keeps it for ever.", 86400.0, unit="seconds", least=1
    )
    serializer: str = key("How results are encoded.", "json", unit="serializer")
    compression: str | None = key(
        "How results are compressed; null for not at all.", None, unit="compression", example="gzip"
    )
    compress_over: int = key("Results smaller than this are not compressed.", 4096, unit="bytes", least=0)
    extended: bool = key(
        "Keep with each result also its task's name, args, kwargs, worker, retries and queue.", False
    )
    timeout: float = key("How long any call to the store may take.", 30.0, unit="seconds", least=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker runs."""

    pool: str = key(
        "What runs the tasks: gevent, eventlet, threads, prefork, solo, asyncio, or a plug-in's.",
        "gevent", unit="pool",
    )  # fmt: skip
    concurrency: int | None = key(
        "How many tasks run at once in each process; null for what suits the pool: 100, 20 threads, "
        "a prefork child for each processor.",
        None, least=1, most=1_000_000,
    )  # fmt: skip
    processes: int = key("How many worker processes run side by side.", 1, least=1, most=1024)
    queues: tuple[str, ...] = key(
        "The queues it takes from, most important first.", ("celery",), unit="queue"
    )
    node: str = key(
        "Its name; %h is the host, %n the part before @, %i the process's number.", "greenq@%h", unit="node"
    )
    prefetch: int | None = key(
        "Messages it may hold beyond those it can start now; not set, what short tasks let it run in 5 ms.",
        None, least=0, most=1_000_000,
    )  # fmt: skip
    lease: float = key(
        "How long after a process's death its messages return; a living process renews it.",
        15.0, unit="seconds", least=1,
    )  # fmt: skip
    max_deliveries: int = key(
        "A message is given up as dead when so many deaths of worker processes are charged to it.", 5, least=1
    )
    shutdown_timeout: float = key(
        "How long running tasks may take to finish after SIGTERM.", 30.0, unit="seconds", least=0
    )
    max_tasks: int | None = key(
        "Replace each worker process after this many tasks; null for never.", None, least=1
    )
    max_age: float | None = key(
        "Replace each worker process at this age; null for never.",
        None, unit="seconds", least=1, example="12h",
    )  # fmt: skip
    max_memory: int | None = key(
        "Replace a process when its resident memory is larger, prefork's children each by itself; "
        "null for never.",
        None, unit="bytes", least=1024 * 1024, example="512MiB",
    )  # fmt: skip
    autoscale: str | None = key(
        "MAX,MIN: how many tasks run at once is chosen between these, by what waits; null for a fixed number"
        ".",
        None, example='"100,10"',
    )  # fmt: skip
    health: str | None = key(
        "Where the command answers GET /live and /ready: host:port, or the path of a Unix socket.",
        None, example='"127.0.0.1:8000"',
    )  # fmt: skip
    pidfile: str | None = key(
        "A file for the command's process id; it is refused while another command holds it.",
        None, example="/run/greenq/worker.pid",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What holds for every task that does not say otherwise."""

    serializer: str = key("How arguments are encoded.", "json", unit="serializer")
    compression: str | None = key(
        "How arguments are compressed; null for not at all.", None, unit="compression", example="gzip"
    )
    compress_over: int = key("Bodies smaller than this are not compressed.", 4096, unit="bytes", least=0)
    max_body: int = key(
        "The largest body, decompressed, that is decoded; a larger one is dead-lettered.",
        64 * 1024 * 1024, unit="bytes", least=1024,
    )  # fmt: skip
    queue: str = key("The queue of calls that name none and match no route.", "celery", unit="queue")
    acks_late: bool = key(
        "Acknowledge after the run (at least once) rather than before it (at most once).", True
    )
    ignore_result: bool = key("Store no results.", False)
    track_started: bool = key("Store the state STARTED when a task begins.", False)
    time_limit: float | None = key(
        "A task is ended after so long; null for never.", None, unit="seconds", least=0.01
    )
    soft_time_limit: float | None = key(
        "SoftTimeLimitExceeded is raised in a task after so long; null for never.",
        None, unit="seconds", least=0.01,
    )  # fmt: skip
    max_retries: int | None = key("How often a task may be retried; null for ever.", 3, least=0)
    retry_delay: float = key("How long a retry waits that names no time.", 180.0, unit="seconds", least=0)
    expires: float | None = key(
        "A task not begun after so long is not run; null for never.", None, unit="seconds", least=0
    )
    priority: int | None = key(
        "0 to 9; a higher number runs first, but on Redis a lower one.", None, least=0, most=9
    )
    inherit_priority: bool = key(
        "What a running task sends has its priority, unless the call or its task says another.", False
    )
    errbacks_on_headers: bool = key(
        "`link_error` of a chord links to the members of its header, too, and not to its body alone.", False
    )
    routing_key: str | None = key(
        "The routing key of calls to an exchange that name none; null for the name of tasks.queue.",
        None, example="tasks",
    )  # fmt: skip
    create_missing_queues: bool = key(
        "Make queues that `queues` does not list when they are used; otherwise they are an error.", True
    )
    eager: bool = key("Run tasks where they are called instead of sending them (for tests).", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What holds for the messages of one queue."""

    serializer: str | None = key("How arguments sent to this queue are encoded.", None, unit="serializer")
    compression: str | None = key("How bodies sent to this queue are compressed.", None, unit="compression")
    priority: int | None = key("Priority of messages that name none.", None, least=0, most=9)
    exchange: str | None = key(
        "The exchange that puts messages into it; null where they are sent straight to it.",
        None, unit="queue", example="media",
    )  # fmt: skip
    exchange_type: str = key(
        "How that exchange chooses queues.", "direct", choices=("direct", "topic", "fanout", "headers")
    )
    routing_key: str | None = key(
        "What it is bound with, and what messages for it carry; null for its name.",
        None, example="media.video",
    )  # fmt: skip
    bindings: tuple[str, ...] = key(
        "Further routing keys that it is bound with; of a topic exchange patterns with * and #.",
        (), example='["media.#"]',
    )  # fmt: skip
    binding_arguments: Mapping[str, Any] = key(
        "What the headers of a message must have, where the exchange's type is headers.",
        {}, example="{x-match: all, format: pdf}",
    )  # fmt: skip
    broadcast: bool = key(
        "Each worker that takes from it gets every message, by a fanout exchange of its name.", False
    )
    durable: bool = key("It survives a restart of the broker.", True)
    auto_delete: bool = key("It is deleted when its last consumer has gone.", False)
    arguments: Mapping[str, Any] = key(
        "Arguments of its declaration, as RabbitMQ knows them.", {}, example="{x-max-priority: 10}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where some tasks go: those whose names match, or what a function says; the first that says counts."""

    match: str | None = key(
        "Name of the task, a pattern with * and ?, or re: and a regular expression.", None, example="mail.*"
    )
    function: str | None = key(
        "Asked for each call that no earlier route takes: router(name, args, kwargs, options, task).",
        None, unit="dotted", example="shop.routing:choose",
    )  # fmt: skip
    queue: str | None = key("Where they go.", None, unit="queue", example="mail")
    exchange: str | None = key("The exchange that they go to instead.", None, unit="queue", example="media")
    routing_key: str | None = key("With which routing key.", None, example="media.video")
    priority: int | None = key("Priority of calls that name none.", None, least=0, most=9)
    serializer: str | None = key("How their arguments are encoded.", None, unit="serializer")
    compression: str | None = key("How their bodies are compressed.", None, unit="compression")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlingSettings:
    """What holds for all workers together: unique tasks, rates, limits and paused queues."""

    url: str | None = key(
        "Where it is remembered, redis:// or sqlite://; null for the broker's place, or else the results'.",
        None, unit="url", example="redis://localhost:6379/0",
    )  # fmt: skip
    unique_for: float = key(
        "How long a unique task holds its key at most, where it does not say.",
        3600.0, unit="seconds", least=0.1,
    )  # fmt: skip
    timeout: float = key("How long any call about it may take.", 10.0, unit="seconds", least=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """What workers and senders tell those who watch."""

    tasks: bool = key(
        "Workers tell what happens to tasks from their start on; else once they are asked.", False
    )
    sent: bool = key("Senders tell of each call that they send.", False)
    heartbeat: float | None = key(
        "How often a worker tells that it is alive; null for never.", 2.0, unit="seconds", least=0.1
    )
    exchange: str = key("The exchange that events are told on.", "celeryev")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """How workers are asked and told things while they run."""

    enabled: bool = key("Workers answer remote control.", True)
    namespace: str = key("The name that the exchanges of remote control begin with.", "celery")
    revoked_most: int = key(
        "How many revoked tasks are remembered; of more the oldest are forgotten.", 50_000, least=1
    )
    revoked_for: float = key("How long a revoked task is remembered.", 10800.0, unit="seconds", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how."""

    level: str = key(
        "The least level that is shown.", "info", choices=("debug", "info", "warning", "error", "critical")
    )
    format: str = key("Lines for people, or one JSON object a line.", "text", choices=("text", "json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    app: str | None = key(
        "The application, as module or module:attribute.", None, unit="dotted", example="shop.tasks:app"
    )
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    results: ResultSettings = field(default_factory=ResultSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    tasks: TaskSettings = field(default_factory=TaskSettings)
    accept: tuple[str, ...] = key(
        "The serializers that a worker decodes; other messages are dead-lettered undecoded.",
        ("json", "msgpack"), unit="serializer",
    )  # fmt: skip
    routes: tuple[Route, ...] = key(
        "Which tasks go to which queue; the first match counts.",
        (),
        example='[{match: "mail.*", queue: mail}]',
    )
    queues: Mapping[str, QueueSettings] = key(
        "Settings by queue.", {}, unit="queue", example="{mail: {priority: 5}}"
    )
    serializers: Mapping[str, str] = key(
        "Further serializers: name to module:Class.", {}, unit="class", example="{cbor: shop.codecs:Cbor}"
    )
    compressions: Mapping[str, str] = key(
        "Further compressions: name to module:Class.",
        {},
        unit="class",
        example="{snappy: shop.codecs:Snappy}",
    )
    imports: tuple[str, ...] = key(
        "Further modules that hold tasks; imported with the application.",
        (), unit="dotted", example="[shop.mail, shop.orders]",
    )  # fmt: skip
    autodiscover: tuple[str, ...] = key(
        "Packages whose module `tasks` is imported with the application, where they have one.",
        (), unit="dotted", example="[shop.mail, shop.orders]",
    )  # fmt: skip
    annotations: Mapping[str, Any] = key(
        "Options of tasks by name or pattern, before what their decorators say.",
        {}, example='{"shop.*": {time_limit: 30s}}',
    )  # fmt: skip
    middleware: tuple[str, ...] = key(
        "Objects or classes with hooks around every run, module:name, outermost first.",
        (), unit="class", example="[greenq.contrib.sqlalchemy:ReleaseConnections]",
    )  # fmt: skip
    throttling: ThrottlingSettings = field(default_factory=ThrottlingSettings)
    events: EventSettings = field(default_factory=EventSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    log: LogSettings = field(default_factory=LogSettings)
