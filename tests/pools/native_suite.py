"""Signals, locks and native threads in one world; run by test_native.py in each."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable

import pytest

from pools import native
from pools.conformance.chores import combine, explode
from pools.wakeup import current_hub

WORLD = os.environ["WORLD"]
pause = native.original("time", "sleep")


def start_ticking() -> Callable[[], int]:
    """Count in another green thread, if this world has them; return what tells the count."""
    count = 0

    def tick(sleep: Callable[[float], object]) -> None:
        nonlocal count
        while count < 10000:
            count += 1
            sleep(0.005)

    if "gevent" in WORLD:
        import gevent

        gevent.spawn(tick, gevent.sleep)
    elif "eventlet" in WORLD:
        import eventlet

        eventlet.spawn(tick, eventlet.sleep)
    return lambda: count


def test_the_world_is_recognized() -> None:
    start_ticking()
    native.Signal().wait(0.01)
    hub = current_hub()
    assert (hub[0] if hub else "plain") in WORLD
    assert native.is_native() == (WORLD == "plain")


def test_a_native_thread_may_block_in_every_world() -> None:
    assert native.run(native.is_native)


def test_a_signal_set_by_a_native_thread_ends_the_wait_while_others_run() -> None:
    count = start_ticking()
    signal = native.Signal()
    thread = native.start(lambda: (pause(0.2), signal.set()), "setter")
    began = time.monotonic()
    assert signal.wait(20)
    assert time.monotonic() - began > 0.19
    assert WORLD == "plain" or count() >= 5
    assert thread.join(20)
    assert not thread.alive
    assert signal.wait(0)


def test_a_wait_ends_at_its_deadline() -> None:
    signal = native.Signal()
    began = time.monotonic()
    assert not signal.wait(0.1)
    assert 0.09 < time.monotonic() - began < 5
    assert not signal.is_set


def test_a_signal_wakes_all_who_wait() -> None:
    signal = native.Signal()
    threads = [native.start(lambda: signal.wait(30), f"waiter-{number}") for number in range(10)]
    signal.set()
    assert all(thread.join(20) for thread in threads)


def test_a_green_thread_is_woken_by_another_before_the_hub_looks_at_its_sockets() -> None:
    if "gevent" not in WORLD:
        return  # eventlet looks at its sockets in every turn
    import gevent
    from gevent.hub import get_hub

    loop, signal, turns = get_hub().loop, native.Signal(), [0]
    waiter = gevent.spawn(signal.wait, 20)
    gevent.sleep(0.01)

    def turn() -> None:
        turns[0] += 1
        if not waiter.dead and turns[0] < 10_000:
            loop.run_callback(turn)

    loop.run_callback(turn)
    signal.set()
    waiter.join(20)
    assert waiter.value
    assert turns[0] < 10


def test_one_whose_hub_is_gone_keeps_nobody_waiting() -> None:
    signal = native.Signal()
    entered = native.Signal()

    def wait_and_vanish() -> None:
        """Leave a waiter behind in a hub that ends with this thread."""
        if "gevent" in WORLD:
            import gevent

            gevent.spawn(signal.wait, 60)
            gevent.sleep(0.01)
            gevent.get_hub().destroy(destroy_loop=True)
        elif "eventlet" in WORLD:
            import eventlet

            eventlet.spawn(signal.wait, 60)
            eventlet.sleep(0.01)

    vanishing = native.start(wait_and_vanish, "vanishing")
    assert vanishing.join(20)

    def wait() -> None:
        entered.set()
        woken.append(signal.wait(20))

    woken: list[bool] = []
    waiting = native.start(wait, "waiting")
    assert entered.wait(20)
    while len(signal._wake) < (1 if WORLD == "plain" else 2):
        pause(0.001)
    signal.set()
    assert waiting.join(20)
    assert woken == [True]


def test_no_wakeup_is_lost_between_many_threads() -> None:
    for _ in range(300):
        there, back = native.Signal(), native.Signal()
        native.start(lambda there=there, back=back: (there.wait(20), back.set()), "pong")  # type: ignore[misc]
        there.set()
        assert back.wait(20)


def test_run_brings_back_values_and_errors_and_takes_the_context_along() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("carried")
    assert native.run(combine, 1, 2) == (1, 2)
    assert native.run(variable.get) == "carried"
    with pytest.raises(LookupError, match="boom"):
        native.run(explode, "boom")


def test_run_uses_few_threads_and_never_waits_for_itself() -> None:
    idents = {native.run(native.original("_thread", "get_ident")) for _ in range(100)}
    assert len(idents) <= native.RUNNERS
    assert native.original("_thread", "get_ident")() not in idents
    nested = native.run(lambda: native.run(lambda: native.run(combine, "deep")))
    assert nested == ("deep",)


def test_a_lock_excludes_native_threads() -> None:
    lock = native.Lock()
    total = 0

    def add() -> None:
        nonlocal total
        for _ in range(2000):
            with lock:
                total, before = -1, total
                total = before + 1

    threads = [native.start(add, "adder") for _ in range(4)]
    assert all(thread.join(30) for thread in threads)
    assert total == 8000
    assert lock.acquire(timeout=0)
    assert not lock.acquire(timeout=0.01)


def test_originals_are_what_the_interpreter_has() -> None:
    import _thread

    assert native.original("threading", "Thread").__name__ == "Thread"
    assert (native.original("_thread", "get_ident") is _thread.get_ident) == ("patched" not in WORLD)
    assert isinstance(threading.current_thread().name, str)
