"""What users get wrong: each mistake gives one line that says what to do, exit code 2, and nothing is lost.

The cases that need a running worker, and end in dead letters, are in `test_bad_messages`.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.greenq.cli.command import greenq

APP = """
from greenq import GreenQ
app = GreenQ("shop")
other = "no application"

@app.task
def add(a, b=0):
    return a + b
"""
LIMITED = APP.replace("@app.task", "@app.task(time_limit=5)")
BLOCKED = "import sys\nsys.modules.update(gevent=None, eventlet=None)"
"""A sitecustomize.py under which neither seems to be installed."""
TAKEN = socket.create_server(("127.0.0.1", 0))
"""A port that somebody else listens on."""
WORKER = ["worker", "-A", "shop", "--burst"]
AT_ONCE = 3
"""How many commands run at once; each takes about a third of a second of a processor."""


@dataclass
class Mistake:
    """One thing that a user does wrong.

    Attributes:
        what: the case's name.
        says: patterns that the line must match: what is wrong, and what to do.
        arguments: of the command.
        yaml: greenq.yaml, if there is one.
        files: further files by name.
        env: further variables.
        lines: how many lines there are; more only where there is more than one mistake.
    """

    what: str
    says: list[str]
    arguments: list[str] = field(default_factory=lambda: WORKER)
    yaml: str | bytes | None = None
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    lines: int = 1


def worker(*more: str) -> list[str]:
    return [*WORKER, *more]


def call(*more: str) -> list[str]:
    return ["call", "shop.add", *more]


IN_YAML = [
    Mistake("section misspelled", [r"greenq.yaml:1", "did you mean broker"],
            yaml="brokr: {url: 'memory://x'}"),
    Mistake("key misspelled", [r"greenq.yaml:2", "did you mean .*concurrency"],
            yaml="worker:\n  concurency: 5"),
    Mistake("word for a number", ["greenq.yaml:1", "whole number", "ten"], yaml="worker: {concurrency: ten}"),
    Mistake("fraction for a count", ["greenq.yaml:1", "whole number"], yaml="worker: {concurrency: 1.5}"),
    Mistake("too small a number", ["greenq.yaml:1", "at least 1"], yaml="worker: {concurrency: 0}"),
    Mistake("unknown unit of time", ["greenq.yaml:1", "such as 30s"], yaml="worker: {lease: 2 fortnights}"),
    Mistake("spoken unit of time", ["greenq.yaml:1", "write 15m"], yaml="worker: {lease: 15 minutes}"),
    Mistake("unknown unit of size", ["greenq.yaml:1", "such as .*64KiB"],
            yaml="tasks: {compress_over: 4 furlongs}"),
    Mistake("negative time", ["greenq.yaml:1", "shutdown_timeout"], yaml="worker: {shutdown_timeout: -5s}"),
    Mistake("maybe for yes or no", ["greenq.yaml:1", "true or false"], yaml="tasks: {acks_late: maybe}"),
    Mistake("unknown pool", ["greenq.yaml:1", "did you mean gevent"], yaml="worker: {pool: gevnt}"),
    Mistake("unknown serializer", ["greenq.yaml:1", "json"],
            yaml="tasks: {serializer: jsno}\naccept: [json, jsno]", lines=3),
    Mistake("unknown compression", ["greenq.yaml:1", "did you mean zstd"], yaml="tasks: {compression: zsdt}"),
    Mistake("unknown log level", ["greenq.yaml:1", "warning"], yaml="log: {level: warnign}"),
    Mistake("serializer not accepted", ["greenq.yaml:1", "accept: \\["], yaml="tasks: {serializer: yaml}"),
    Mistake("section is a number", ["greenq.yaml:1", "worker"], yaml="worker: 5"),
    Mistake("file is a list", ["greenq.yaml:1", "mapping|key"], yaml="- worker"),
    Mistake("key given twice", ["greenq.yaml:2", "twice|line 1|:1"], yaml="app: shop\napp: shop"),
    Mistake("bracket left open", [r"greenq.yaml:\d"], yaml="worker: {pool: [gevent"),
    Mistake("tab for indentation", ["greenq.yaml:2", "tab|space"], yaml="worker:\n\tpool: gevent"),
    Mistake("variable not set", ["greenq.yaml:1", "NO_SUCH"], yaml="broker: {url: '${NO_SUCH}'}"),
    Mistake("soft limit above hard", ["greenq.yaml:1", "shorter"],
            yaml="tasks: {soft_time_limit: 9s, time_limit: 5s}"),
    Mistake("file is no text", ["greenq.yaml", "UTF-8"], yaml=b"app: \xff\xfe\x00"),
    Mistake("route that is never reached", ["greenq.yaml:1", "earlier"],
            yaml="routes: [{match: '*', queue: x}, {match: a.*, queue: y}]"),
    Mistake("priority out of range", ["greenq.yaml:1", "9"], yaml="tasks: {priority: 12}"),
    Mistake("unknown broker", ["redish", "did you mean|sqlite"], yaml="broker: {url: 'redish://host/0'}"),
    Mistake("unknown result store", ["redish", "did you mean|sqlite"], yaml="results: {url: 'redish://host/0'}"),
]  # fmt: skip

IN_PLACES = [
    Mistake("file is not there", ["nope.yaml"], worker("--config", "nope.yaml")),
    Mistake("file is a directory", ["folder", "directory"], worker("--config", "folder"),
            files={"folder/x": ""}),
    Mistake("file of a variable is not there", ["GREENQ_CONFIG", "nope.yaml"],
            env={"GREENQ_CONFIG": "nope.yaml"}),
    Mistake("file is named .yml", ["greenq.yml", "rename"], files={"greenq.yml": "app: shop"}),
    Mistake("variable misspelled", ["GREENQ_WORKER_CONCURENCY", "did you mean"],
            env={"GREENQ_WORKER_CONCURENCY": "5"}),
    Mistake("variable of the wrong type", ["GREENQ_WORKER_CONCURRENCY", "ten"],
            env={"GREENQ_WORKER_CONCURRENCY": "ten"}),
]  # fmt: skip

ON_THE_COMMAND_LINE = [
    Mistake("command misspelled", ["wrker", "did you mean worker"], ["wrker"]),
    Mistake("unknown command", ["there are worker, call"], ["florp"]),
    Mistake("group without a command", ["say what: list, pause, purge, resume"], ["queues"]),
    Mistake("option misspelled", ["--concurency", "did you mean --concurrency"], worker("--concurency", "5")),
    Mistake("option before the command, as Celery has it", ["no option -A", "greenq worker -A shop.tasks"],
            ["-A", "shop.tasks", "worker"]),
    Mistake("option without its value", ["--pool", "requires an argument"], ["worker", "--pool"]),
    Mistake("word for a number, as option", ["--concurrency", "ten"], worker("-c", "ten")),
    Mistake("unknown unit, as option", ["--time-limit", "write 10m"], worker("--time-limit", "10min")),
    Mistake("unknown pool, as option", ["--pool", "did you mean threads"], worker("--pool", "thread")),
    Mistake("unknown log level, as option", ["--loglevel", "debug"], worker("--loglevel", "loud")),
    Mistake("unknown log format", ["--logformat", "json"], worker("--logformat", "xml")),
    Mistake("nowhere to answer probes", ["--health", "host:port"], worker("--health", "8000")),
    Mistake("port of the probes in use", ["worker.health", "in use", "--health"],
            worker("--health", f"127.0.0.1:{TAKEN.getsockname()[1]}")),
    Mistake("PID file in no directory", ["worker.pidfile", "nowhere"], worker("--pidfile", "nowhere/pid")),
    Mistake("no processes", ["--processes", "at least 1"], worker("--processes", "0")),
    Mistake("surplus argument", ["unexpected extra argument", "--help"], worker("now")),
    Mistake("unknown shell", ["bash.*zsh.*fish"], ["completion", "tcsh"]),
]  # fmt: skip

IN_THE_APPLICATION = [
    Mistake("no application", ["-A", "app:"], ["worker"]),
    Mistake("unknown module", ["shpo", "did you mean shop"], ["worker", "-A", "shpo"]),
    Mistake("module with its .py", ["did you mean shop"], ["worker", "-A", "shop.py"]),
    Mistake("a path for a module", ["--app", "shop.tasks:app"], ["worker", "-A", "./shop"]),
    Mistake("unknown attribute", ["shop", "ap", "app"], ["worker", "-A", "shop:ap"]),
    Mistake("attribute is something else", ["other", "GreenQ"], ["worker", "-A", "shop:other"]),
    Mistake("module without application", ["empty", "GreenQ"], ["worker", "-A", "empty"],
            files={"empty.py": ""}),
    Mistake("several applications", ["two", "two:"], ["worker", "-A", "two"], files={
        "two.py": "from greenq import GreenQ\none = GreenQ('a')\ntwo = GreenQ('b')"}),
    Mistake("import fails", ["bad", "bad.py:2", "ZeroDivisionError"], ["worker", "-A", "bad"],
            files={"bad.py": "x = 0\n1 / x"}),
    Mistake("syntax error", ["bad", "bad.py:1"], ["worker", "-A", "bad"], files={"bad.py": "def ("}),
    Mistake("import of a missing package", ["bad", "nosuchpackage"], ["worker", "-A", "bad"],
            files={"bad.py": "import nosuchpackage"}),
    Mistake("unknown option of a task", ["tiem_limit", "did you mean 'time_limit'"], ["worker", "-A", "bad"],
            files={"bad.py": APP.replace("@app.task", "@app.task(tiem_limit=5)")}),
    Mistake("same from greenq tasks", ["shpo", "did you mean shop"], ["tasks", "-A", "shpo"]),
    Mistake("import fails in greenq tasks", ["bad.py:2", "ZeroDivisionError"], ["tasks", "-A", "bad"],
            files={"bad.py": "x = 0\n1 / x"}),
]  # fmt: skip

WITH_POOLS = [
    Mistake("pool without its package", ["eventlet", "pip install", "threads"], worker("--pool", "eventlet"),
            env={"PYTHONPATH": "blocked"}, files={"blocked/sitecustomize.py": BLOCKED}),
    Mistake("default pool without its package", ["gevent", "pip install", "threads"],
            env={"PYTHONPATH": "blocked"}, files={"blocked/sitecustomize.py": BLOCKED}),
    Mistake("hard limit on threads", ["time_limit", "threads", "prefork|gevent"],
            worker("--pool", "threads", "--time-limit", "5s")),
    Mistake("hard limit on solo", ["time_limit", "solo", "prefork|gevent"],
            worker("--pool", "solo", "-c", "1", "--time-limit", "5s")),
    Mistake("a task's hard limit on threads", ["shop.add|limited.add", "threads"],
            ["worker", "-A", "limited", "--pool", "threads"],
            files={"limited.py": LIMITED}),
    Mistake("ten at once on solo", ["solo", "10|concurrency"], worker("--pool", "solo", "-c", "10")),
    Mistake("pool chosen in code", ["threads", "greenq.yaml|--pool"], ["worker", "-A", "coded"],
            files={"coded.py": APP.replace('"shop"', '"shop", worker={"pool": "threads"}')}),
]  # fmt: skip

WITH_BROKERS = [
    Mistake("broker's directory is missing", ["nowhere", "director"], call(),
            yaml="broker: {url: 'sqlite:///nowhere/x.db'}"),
    Mistake("broker's directory is not writable", ["/proc"], call(),
            yaml="broker: {url: 'sqlite:////proc/x.db'}"),
    Mistake("broker's file is no database", ["shop.py", "database"], call(),
            yaml="broker: {url: 'sqlite:///shop.py'}"),
    Mistake("worker's broker is missing", ["nowhere", "director"],
            yaml="broker: {url: 'sqlite:///nowhere/x.db'}"),
    Mistake("worker's broker is no database", ["shop.py", "database"],
            yaml="broker: {url: 'sqlite:///shop.py'}"),
    Mistake("broker's server is down", ["127.0.0.1:1"], call(), yaml="broker: {url: 'redis://u:pa55@127.0.0.1:1'}"),
    Mistake("worker's server is down", ["127.0.0.1:1"], yaml="broker: {url: 'redis://u:pa55@127.0.0.1:1'}"),
    Mistake("result store is missing", ["nowhere"], ["result", "3f2c"],
            yaml="results: {url: 'sqlite:///nowhere/x.db'}"),
    Mistake("results are not kept", ["results.url"], ["result", "3f2c"], yaml="results: {url: null}"),
    Mistake("waiting where results are not kept", ["results.url", "--wait"], call("--wait"),
            yaml="results: {url: null}"),
    Mistake("sending into this process's memory", ["memory://x", "broker.url"], call(),
            yaml="broker: {url: 'memory://x'}"),
    Mistake("purging an unknown queue", ["celry", "there are|did you mean|no queue"],
            ["queues", "purge", "celry", "--yes"]),
    Mistake("unknown dead letter", ["99", "greenq dead list"], ["dead", "show", "99"]),
    Mistake("replaying nothing", ["--all"], ["dead", "replay"]),
]  # fmt: skip

IN_CALLS = [
    Mistake("arguments are no JSON", ["--args", "JSON", "write '\\["], call("--args", "[1, 2")),
    Mistake("arguments are no list", ["--args", "list", r"'\[5\]'"], call("--args", "5")),
    Mistake("keyword arguments are no object", ["--kwargs", "object"], call("--kwargs", "[1]")),
    Mistake("unknown task", ["shop.ad", "did you mean shop.add"], ["call", "-A", "shop", "shop.ad"]),
    Mistake("task without its module", ["'add'", "did you mean shop.add"], ["call", "-A", "shop", "add"]),
    Mistake("too many arguments", ["shop.add", "argument"], call("-A", "shop", "--args", "[1, 2, 3]")),
    Mistake("argument is missing", ["shop.add", "'a'"], call("-A", "shop")),
    Mistake("unknown argument", ["shop.add", "'c'"], call("-A", "shop", "-a", "[1]", "-k", '{"c": 1}')),
    Mistake("countdown is no time", ["--countdown", "such as 30s"], call("--countdown", "soon")),
    Mistake("date is none", ["--eta", "2030-12-31"], call("--eta", "tomorrow")),
    Mistake(
        "two times", ["--countdown", "--eta", "one of them"], call("--countdown", "5s", "--eta", "2030-01-01")
    ),
    Mistake("expiry is no time", ["--expires", "such as 30s"], call("--expires", "never")),
    Mistake("priority out of range, in a call", ["--priority", "9"], call("--priority", "12")),
    Mistake("unknown serializer, in a call", ["jsno", "json"], call("--serializer", "jsno")),
    Mistake("refused serializer", ["pickle", "accept"], call("--serializer", "pickle")),
    Mistake("timeout without waiting", ["--timeout", "--wait"], call("--timeout", "5s")),
]

MISTAKES = [
    *IN_YAML,
    *IN_PLACES,
    *ON_THE_COMMAND_LINE,
    *IN_THE_APPLICATION,
    *WITH_POOLS,
    *WITH_BROKERS,
    *IN_CALLS,
]
BANNER = re.compile(r"^greenq [0-9][^\n]*\n(  [^\n]*\n)+")
"""A worker says what was resolved before it finds that its broker is away."""


def commit(mistake: Mistake, folder: Path) -> subprocess.CompletedProcess[str]:
    """Do it in a directory of its own."""
    folder.mkdir()
    if mistake.yaml is not None:
        data = mistake.yaml if isinstance(mistake.yaml, bytes) else mistake.yaml.encode()
        (folder / "greenq.yaml").write_bytes(data)
    for name, text in {"shop.py": APP, **mistake.files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return greenq(*mistake.arguments, cwd=folder, env=mistake.env, timeout=30)


@pytest.fixture(scope="module")
def committed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """All of them, under way side by side."""
    base = tmp_path_factory.mktemp("mistakes")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {m.what: pool.submit(commit, m, base / str(i)) for i, m in enumerate(MISTAKES)}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what.replace(" ", "_"))
def test_a_mistake_gives_one_clear_line(
    mistake: Mistake, committed: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    done = committed[mistake.what].result()
    said = BANNER.sub("", done.stderr).strip()
    assert done.returncode == 2, said or done.stdout
    assert done.stdout == ""
    assert "Traceback" not in said
    assert "pa55" not in said
    assert len(said.splitlines()) == mistake.lines, said
    for pattern in mistake.says:
        assert re.search(pattern, said), f"{pattern!r} is not in: {said}"


def test_there_are_enough_of_them_and_each_has_a_name() -> None:
    assert len(MISTAKES) >= 40
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES)
