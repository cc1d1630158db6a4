"""Another process that takes part in a conformance test, and does one thing with a broker or store.

Run as ``python -m greenq.testing.actor OPENER ADDRESS COMMAND …``; it prints one line of JSON when it has
done it. `Actor` starts one.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from greenq.closing import Closing

__all__ = ["Actor"]

PATIENCE = 60.0


class Actor(Closing):
    """Starts another process and listens to it.

    Parameters:
        opener: ``module:function`` that makes the broker or store from its address.
        address: given to it.
        command: one of the functions of this module below, and its arguments.
    """

    def __init__(self, opener: str, address: str, *command: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "greenq.testing.actor", opener, address, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            text=True,
        )

    def says(self, patience: float = PATIENCE) -> Any:
        """Wait for the next line it prints."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        assert ready, f"the other process said nothing for {patience} s"
        line = self._process.stdout.readline()
        assert line, f"the other process ended with {self._process.wait()} and said nothing"
        return json.loads(line)

    def go(self) -> None:
        """Let it go on where it waits to be told."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and let go of its streams."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


# ── in the other process ─────────────────────────────────────────────────────────────────────────────────


def say(what: object) -> None:
    """Print one line for the test to read."""
    print(json.dumps(what), flush=True)


def publish(broker: Any, queue: str, count: str) -> None:
    """Publish messages named 0, 1, 2, … one by one."""
    from greenq.testing.messages import make

    for number in range(int(count)):
        assert broker.publish([make(str(number), queue)], PATIENCE) == [None]
    say("published")


def hold(broker: Any, queue: str, count: str, process: str, seconds: str) -> None:
    """Take messages and keep them until killed."""
    from greenq.testing.messages import ids, take

    broker.lease(process, float(seconds))
    say(ids(take(broker, int(count), [queue])))
    sys.stdin.read()


def drain(broker: Any, queue: str, process: str) -> None:
    """Take and acknowledge until there is nothing left, and say what it was."""
    from greenq.message import Verdict
    from greenq.testing.messages import ids, settle

    broker.lease(process, PATIENCE)
    say("ready")
    sys.stdin.readline()
    drained: list[str] = []
    while deliveries := broker.fetch([queue], 7, 1.0):
        drained += ids(deliveries)
        assert all(settle(broker, deliveries, Verdict.ACK))
    say(drained)


def answer(broker: Any, ping: str, pong: str, process: str) -> None:
    """Send back each message of one queue through another."""
    from greenq.message import Verdict
    from greenq.testing.messages import ids, make, settle, take

    broker.lease(process, PATIENCE)
    say("ready")
    while True:
        [delivery] = take(broker, 1, [ping])
        broker.publish([make(ids([delivery])[0], pong)], PATIENCE)
        settle(broker, [delivery], Verdict.ACK)


def put(store: Any, id: str, state: str, value: str) -> None:
    """Store a result when told to."""
    from greenq.testing.payloads import encoded

    say("ready")
    sys.stdin.readline()
    store.put([encoded(store, id, state, value)], PATIENCE)
    say("stored")


def hub_fetch(broker: Any, library: str) -> None:
    """Say how often another green thread ran while one waited for a message, and what came."""
    from greenq.testing.messages import ids, make

    broker.lease("hub", PATIENCE)

    def wait() -> Any:
        nothing = broker.fetch(["q"], 1, 0.5)
        broker.publish([make("late", "q", due=time.time() + 0.5)], PATIENCE)
        return ids(nothing), ids(broker.fetch(["q"], 1, PATIENCE))

    say(_ticks(library, wait))


def hub_wait(store: Any, library: str) -> None:
    """Say how often another green thread ran while one waited for a result, and what came."""
    from greenq.testing.payloads import encoded

    def wait() -> Any:
        nothing = store.wait(["absent"], 1.0)
        store.put([encoded(store, "there", "SUCCESS", "v")], PATIENCE)
        return sorted(nothing), sorted(store.wait(["there"], PATIENCE))

    say(_ticks(library, wait))


def hub_crowd(store: Any, library: str, count: str) -> None:
    """Let many green threads wait for a result each, store them all, and say how many were answered."""
    from greenq.testing.payloads import encoded

    green = importlib.import_module(library)
    names = [f"crowd-{number}" for number in range(int(count))]
    found: list[list[str]] = []
    waiting = [green.spawn(lambda id=id: found.append(sorted(store.wait([id], PATIENCE)))) for id in names]
    green.sleep(0.5)
    store.put([encoded(store, id) for id in names], PATIENCE)
    for waiter in waiting:
        waiter.join() if library == "gevent" else waiter.wait()
    say(sorted(id for ids in found for id in ids) == sorted(names))


def _ticks(library: str, wait: Callable[[], Any]) -> Any:
    """Run `wait` in one green thread beside another that counts every 10 ms."""
    green = importlib.import_module(library)
    count = 0

    def tick() -> None:
        nonlocal count
        while True:
            count += 1
            green.sleep(0.01)

    ticker = green.spawn(tick)
    found: list[Any] = []
    waiter = green.spawn(lambda: found.append(wait()))
    waiter.join() if library == "gevent" else waiter.wait()
    ticker.kill()
    return count, found


COMMANDS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (publish, hold, drain, answer, put, hub_fetch, hub_wait, hub_crowd)
}


def main(opener: str, address: str, command: str, *arguments: str) -> None:
    """Open the broker or store and run the command."""
    module, _, name = opener.partition(":")
    make = getattr(importlib.import_module(module), name)
    if command in ("put", "hub_wait", "hub_crowd"):
        from greenq.testing.payloads import decode, encode

        COMMANDS[command](make(address, encode, decode), *arguments)
    else:
        COMMANDS[command](make(address), *arguments)


if __name__ == "__main__":
    if sys.argv[3].startswith("hub_") and "patched" in sys.argv:
        sys.argv.remove("patched")
        if sys.argv[4] == "gevent":
            importlib.import_module("gevent.monkey").patch_all()
        else:
            importlib.import_module("eventlet").monkey_patch()
    main(*sys.argv[1:])
