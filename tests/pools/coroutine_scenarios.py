"""What coroutines do while the standard library is green, or not: each scenario runs in a process of its own.

Run as ``python -m tests.pools.coroutine_scenarios plain|gevent|eventlet NAME``.
"""

# ruff: noqa: E402, PT017 — patching comes before imports, and no pytest here: it would be patched too

from __future__ import annotations

import sys

MODE = sys.argv[1] if __name__ == "__main__" else "plain"

if MODE == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif MODE == "eventlet":
    import warnings

    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import asyncio
import contextvars
import faulthandler
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from pools import coroutines, native
from pools.errors import Killed, PoolError

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def run_all(functions):
    """Call all functions concurrently, as the mode's own light threads; return what they returned."""
    outcomes = [None] * len(functions)

    def call(index):
        try:
            outcomes[index] = functions[index]()
        except BaseException as error:
            outcomes[index] = error

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


async def has_hub() -> bool:
    """Whether the event loop's thread has got a hub of a green thread library."""
    from pools.wakeup import current_hub

    return current_hub() is not None


def no_hub_was_made() -> None:
    assert not coroutines.bind(has_hub)()


def everything_works_a_thousand_times_at_once() -> None:
    served = []

    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        served.append(1)

    async def listen():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        return server, server.sockets[0].getsockname()[1]

    server, port = coroutines.bind(listen)()
    gates = []

    async def work(number):
        loop = asyncio.get_running_loop()
        if not gates:
            gates.extend((asyncio.Lock(), asyncio.Queue(10), asyncio.Semaphore(50)))
        lock, queue, few = gates
        assert await asyncio.to_thread(lambda: number) == number
        assert await loop.run_in_executor(None, lambda: number) == number
        assert (await loop.getaddrinfo("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
        async with few:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
            writer.close()
        async with lock:
            await asyncio.sleep(0)
        await asyncio.gather(queue.put(number), queue.get())
        await asyncio.wait_for(asyncio.sleep(0.001), 30)
        return number

    bound = coroutines.bind(work)
    assert run_all([lambda n=n: bound(n) for n in range(1000)]) == list(range(1000))
    assert len(served) == 1000
    no_hub_was_made()
    server.get_loop().call_soon_threadsafe(server.close)


def subprocesses_work() -> None:
    async def work(number):
        echo = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await echo.communicate(b"%d" % number * 20_000)
        failing = await asyncio.create_subprocess_shell(f"exit {number}")
        return len(out), echo.returncode, await failing.wait()

    bound = coroutines.bind(work)
    expected = [(20_000 * len(str(n)), 0, n) for n in range(40)]
    assert run_all([lambda n=n: bound(n) for n in range(40)]) == expected
    no_hub_was_made()


def subprocesses_work_beside_the_program_s_own() -> None:
    import subprocess

    async def work(number):
        child = await asyncio.create_subprocess_shell(f"exit {number}")
        return await child.wait()

    bound = coroutines.bind(work)

    def own():
        return subprocess.run(["sh", "-c", "exit 7"], check=False).returncode

    outcomes = run_all([(lambda n=n: bound(n)) if n % 2 else own for n in range(40)])
    assert outcomes == [n if n % 2 else 7 for n in range(40)], outcomes


def an_executor_of_the_program_works() -> None:
    async def work():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(3) as executor:
            calls = [loop.run_in_executor(executor, time.sleep, 0.01) for _ in range(20)]
            await asyncio.gather(*calls)
            return await loop.run_in_executor(executor, lambda: "done")

    assert coroutines.bind(work)() == "done"


def blocking_calls_in_threads_do_not_block_the_loop() -> None:
    async def work():
        started = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.2) for _ in range(30)))
        return time.monotonic() - started

    assert coroutines.bind(work)() < 3


def context_comes_along_and_does_not_leak() -> None:
    async def work():
        seen = VARIABLE.get(), await asyncio.to_thread(VARIABLE.get)
        VARIABLE.set("inside")
        return seen

    bound = coroutines.bind(work)

    def call(name):
        VARIABLE.set(name)
        seen = bound()
        return seen, VARIABLE.get()

    names = [f"caller {n}" for n in range(50)]
    outcomes = run_all([lambda name=name: contextvars.Context().run(call, name) for name in names])
    assert outcomes == [((name, name), name) for name in names]


def exceptions_come_back_with_their_traceback() -> None:
    async def deep_down():
        raise KeyError("lost")

    async def work():
        await deep_down()

    try:
        coroutines.bind(work)()
    except KeyError as error:
        assert "deep_down" in "".join(traceback.format_exception(error))
    else:
        raise AssertionError("no exception")

    async def leave():
        sys.exit(3)

    for _ in range(2):
        try:
            coroutines.bind(leave)()
        except SystemExit as error:
            assert error.code == 3
        else:
            raise AssertionError("no exception")

    async def cancel_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    try:
        coroutines.bind(cancel_itself)()
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("no exception")


def a_call_from_the_loop_itself_is_refused() -> None:
    async def inner():
        return 1

    async def outer():
        return coroutines.bind(inner)()

    try:
        coroutines.bind(outer)()
    except PoolError as error:
        assert "await" in str(error)
    else:
        raise AssertionError("no exception")


def _throw_into_waiting_call(fn, exception):
    """Run fn in a green thread, throw the exception into it while it waits; return its outcome."""
    outcome = []

    def call():
        try:
            outcome.append(fn())
        except BaseException as error:
            outcome.append(error)

    if MODE == "gevent":
        import gevent

        green = gevent.spawn(call)
        wait_until(lambda: STARTED)
        green.kill(exception, block=False)
        green.join(20)
    elif MODE == "eventlet":
        import eventlet

        green = eventlet.spawn(call)
        wait_until(lambda: STARTED)
        eventlet.kill(green, exception)
        wait_until(lambda: outcome)
    else:
        import signal

        def raise_it(*_):
            raise exception

        signal.signal(signal.SIGUSR1, raise_it)

        def later():
            wait_until(lambda: STARTED)
            os.kill(os.getpid(), signal.SIGUSR1)

        native.start(later, "later")
        call()
    return outcome[0]


STARTED: list[int] = []
CLEANED: list[str] = []


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def a_soft_interrupt_is_raised_inside_the_coroutine() -> None:
    async def work():
        try:
            await asyncio.sleep(0.05)  # by then its caller waits for it
            STARTED.append(1)
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        except ValueError as error:
            await asyncio.sleep(0.01)
            return f"handled {error}"

    assert _throw_into_waiting_call(coroutines.bind(work), ValueError("late")) == "handled late"
    STARTED.clear()

    async def unprepared():
        await asyncio.sleep(0.05)
        STARTED.append(1)
        await asyncio.sleep(60)

    outcome = _throw_into_waiting_call(coroutines.bind(unprepared), ValueError("later"))
    assert isinstance(outcome, ValueError), outcome
    assert "unprepared" in "".join(traceback.format_exception(outcome))


def a_kill_cancels_the_coroutine_and_runs_its_finally_blocks() -> None:
    async def work():
        try:
            STARTED.append(1)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            CLEANED.append("work")

    outcome = _throw_into_waiting_call(coroutines.bind(work), Killed())
    assert isinstance(outcome, Killed), outcome
    assert CLEANED == ["work"]


def coroutines_and_callers_log_at_once() -> None:
    import logging

    logger = logging.getLogger("shared")
    logger.propagate = False
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger.addHandler(Keep())
    logger.setLevel("INFO")

    async def work(number):
        for turn in range(20):
            logger.info("coroutine %s %s", number, turn)
            await asyncio.sleep(0)

    def caller(number):
        for turn in range(200):
            logger.info("caller %s %s", number, turn)
            if turn % 10 == 0:
                time.sleep(0)

    bound = coroutines.bind(work)
    calls = [lambda n=n: bound(n) for n in range(300)] + [lambda n=n: caller(n) for n in range(50)]
    assert run_all(calls) == [None] * 350
    assert len(lines) == 300 * 20 + 50 * 200


def a_forked_child_gets_a_loop_of_its_own() -> None:
    async def work():
        await asyncio.sleep(0)
        return os.getpid()

    bound = coroutines.bind(work)
    assert bound() == os.getpid()
    child = os.fork()
    if not child:
        os._exit(0 if bound() == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert bound() == os.getpid()


def leftovers_end_quietly_at_exit() -> None:
    async def forever():
        try:
            await asyncio.sleep(600)
        finally:
            print("cleaned up", flush=True)

    async def work():
        STARTED.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    coroutines.bind(work)()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(25, exit=True)
    globals()[sys.argv[2]]()
    faulthandler.cancel_dump_traceback_later()
    print("fine", flush=True)
