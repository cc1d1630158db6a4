from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pools.base import Call, Pool
from pools.conformance import PoolConformance
from pools.errors import CallDied, Killed, PoolClosed, PoolError, RemoteFailure
from pools.prefork import PreforkPool
from tests.pools import prefork_chores as chores
from tests.waiting import until


class TestPreforkPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return PreforkPool(capacity)


def outcome(pool: PreforkPool, fn: Callable[..., object], *args: object) -> Call:
    call = pool.spawn(fn, *args)
    until(lambda: call.finished)
    return call


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie of another parent counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def setup(name: str, *args: object) -> tuple[str, tuple[object, ...]]:
    return f"tests.pools.prefork_chores:{name}", args


# ── setup ────────────────────────────────────────────────────────────────────────────────────────────────


def test_setup_runs_once_in_the_server_and_children_inherit_it() -> None:
    with PreforkPool(2, setup("remember", "application")) as pool:
        seen = [outcome(pool, chores.where).value for _ in range(10)]
    servers = {server for _, server, _ in seen}
    assert len(servers) == 1
    assert os.getpid() not in servers
    assert {tuple(kept) for _, _, kept in seen} == {(*servers, "application")}


def test_a_setup_that_fails_is_an_error_with_its_traceback() -> None:
    with pytest.raises(PoolError, match="the application is broken") as caught:
        PreforkPool(2, setup("fail_in_setup"))
    assert "fail_in_setup" in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.at_all:run", "tests.pools.prefork_chores:missing"])
def test_a_setup_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(PoolError, match=r"No module named 'nowhere'|no attribute 'missing'"):
        PreforkPool(1, (name, ()))


def test_a_setup_that_ends_its_process_is_an_error() -> None:
    with pytest.raises(PoolError, match=r"exit code 7"):
        PreforkPool(1, setup("end_in_setup"))


@pytest.mark.parametrize(
    ("name", "named"), [("leave_a_thread", "left-over"), ("leave_a_socket", "127.0.0.1")]
)
def test_what_a_setup_leaves_open_is_named_and_each_child_runs_it(
    name: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), PreforkPool(2, setup(name)) as pool:
        seen = {outcome(pool, chores.where).value[0]: None for _ in range(20)}
        for pid, _, kept in [outcome(pool, chores.where).value for _ in range(10)]:
            assert kept[0] == pid
        assert seen
    assert named in caplog.text


def test_a_setup_that_breaks_later_in_children_is_told_and_the_pool_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    with PreforkPool(1, setup("fail_in_children", str(broken))) as pool:
        broken.touch()
        assert isinstance(outcome(pool, chores.leave, 1).error, CallDied)
        until(lambda: "broken since" in caplog.text)
        broken.unlink()
        assert outcome(pool, chores.combine, 1).value == (1,)


def test_reload_imports_anew_and_keeps_what_works_when_it_fails(tmp_path: Path) -> None:
    version = tmp_path / "version"
    version.write_text("one")
    with PreforkPool(2, setup("count_versions", str(version))) as pool:
        running = pool.spawn(chores.hold, str(tmp_path / "started"))
        until((tmp_path / "started").exists)
        assert outcome(pool, chores.where).value[2] == ["one"]
        version.write_text("broken")
        with pytest.raises(PoolError, match="this version is broken"):
            pool.reload()
        assert outcome(pool, chores.where).value[2] == ["one"]
        version.write_text("two")
        pool.reload()
        until(lambda: outcome(pool, chores.where).value[2] == ["two"])
        assert [outcome(pool, chores.where).value[2] for _ in range(10)] == [["two"]] * 10
        assert not running.finished
        pool.kill(running)
        until(lambda: running.finished)
        until(lambda: len(pool._keeper._nurseries) == 1)


# ── what travels ─────────────────────────────────────────────────────────────────────────────────────────


def test_large_arguments_and_values_travel_whole() -> None:
    large = os.urandom(20 << 20)
    with PreforkPool(2) as pool:
        calls = [pool.spawn(chores.combine, large, number) for number in range(4)]
        until(lambda: all(call.finished for call in calls))
        assert [call.value == (large, number) for number, call in enumerate(calls)] == [True] * 4


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    with PreforkPool(1) as pool:
        with pytest.raises(PoolError, match="top of a module"):
            pool.spawn(lambda: None)
        with pytest.raises(PoolError, match="cannot be sent"):
            pool.spawn(chores.combine, threading.Lock())
        assert pool.busy == 0
        assert outcome(pool, chores.combine, 1).value == (1,)


def test_a_value_that_cannot_be_pickled_is_an_error_of_the_call() -> None:
    with PreforkPool(1) as pool:
        error = outcome(pool, chores.return_unpicklable).error
        assert isinstance(error, PoolError)
        assert "Unpicklable" in str(error)
        assert outcome(pool, chores.combine, 1).value == (1,)


@pytest.mark.parametrize(("fn", "kind"), [(chores.raise_picky, "Picky"), (chores.raise_stubborn, "Stubborn")])
def test_an_exception_that_cannot_travel_has_a_stand_in(fn: Callable[[], None], kind: str) -> None:
    with PreforkPool(1) as pool:
        error = outcome(pool, fn).error
    assert isinstance(error, RemoteFailure)
    assert error.kind == f"tests.pools.prefork_chores.{kind}"
    assert fn.__name__ in "".join(traceback.format_exception(error))


def test_an_exception_keeps_the_traceback_of_its_causes() -> None:
    with PreforkPool(1) as pool:
        error = outcome(pool, chores.raise_from_cause).error
    assert isinstance(error, ValueError)
    assert "the cause" in "".join(traceback.format_exception(error))


def test_functions_of_the_program_itself_can_be_called(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            """
            import pools

            class Point:
                def __init__(self, x):
                    self.x = x

            def move(point, by):
                return Point(point.x + by)

            if __name__ == "__main__":
                with pools.create("prefork", 2) as pool:
                    print([pool.submit(move, Point(n), 10).result(60).x for n in range(5)])
            """
        )
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.stdout, ended.stderr) == ("[10, 11, 12, 13, 14]\n", "")


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_way_to_die_is_reported_with_its_exit_code() -> None:
    with PreforkPool(2) as pool:
        for code in (0, 3):
            error = outcome(pool, chores.leave, code).error
            assert isinstance(error, CallDied)
            assert error.exitcode == code
        polite = outcome(pool, chores.exit_politely).error
        assert isinstance(polite, SystemExit)
        assert polite.code == 5
        assert outcome(pool, chores.combine, 1).value == (1,)


def test_a_killed_call_s_process_is_gone_and_replaced(tmp_path: Path) -> None:
    with PreforkPool(1) as pool:
        pid = outcome(pool, chores.where).value[0]
        call = pool.spawn(chores.hold, str(tmp_path / "started"))
        until((tmp_path / "started").exists)
        assert pool.kill(call)
        until(lambda: call.finished)
        assert isinstance(call.error, Killed)
        until(lambda: gone(pid))
        assert outcome(pool, chores.where).value[0] != pid


def test_an_idle_child_that_dies_takes_no_call_with_it() -> None:
    with PreforkPool(3) as pool:
        for _ in range(10):
            pids = {outcome(pool, chores.where).value[0] for _ in range(9)}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            until(lambda pids=pids: all(gone(pid) for pid in pids))  # type: ignore[misc]
            assert outcome(pool, chores.combine, 1).value == (1,)


def test_a_fork_server_that_takes_no_orders_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pools.nursery.OBEDIENCE", 0.2)
    with PreforkPool(1) as pool:
        call = pool.spawn(time.sleep, 600)
        [nursery] = pool._keeper._nurseries
        until(lambda: call.place is not None)
        child = call.place
        os.kill(nursery.process.pid, signal.SIGSTOP)

        def order_until_it_is_heard_no_more() -> bool:
            nursery.signal(child, 0)
            return nursery.process.poll() is not None

        until(order_until_it_is_heard_no_more)
        until(lambda: call.finished)
        assert isinstance(call.error, CallDied)
        assert outcome(pool, os.getpid).value != 0


def test_a_dead_fork_server_is_replaced_and_its_calls_are_reported(tmp_path: Path) -> None:
    with PreforkPool(2, setup("remember")) as pool:
        server = outcome(pool, chores.where).value[1]
        calls = [pool.spawn(chores.hold, str(tmp_path / f"started-{number}")) for number in range(2)]
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(server, signal.SIGKILL)
        until(lambda: all(call.finished for call in calls))
        assert [type(call.error) for call in calls] == [CallDied, CallDied]
        after = outcome(pool, chores.where)
        assert after.value[1] != server


def test_nothing_outlives_a_pool_that_was_closed() -> None:
    pool = PreforkPool(3)
    pids = {child.pid for nursery in pool._keeper._nurseries for child in nursery.children.values()}
    pids |= {nursery.process.pid for nursery in pool._keeper._nurseries}
    until(lambda: outcome(pool, chores.where).value)
    assert pool.close(5)
    until(lambda: all(gone(pid) for pid in pids if pid))


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pools.prefork_chores", str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) >= 4
        assert not any(gone(pid) for pid in pids)
        parent.kill()
        until(lambda: all(gone(pid) for pid in pids))


def test_an_interrupt_that_a_finalizer_swallows_is_raised_again(tmp_path: Path) -> None:
    with PreforkPool(1) as pool:
        call = pool.spawn(chores.interrupted_in_a_finalizer, str(tmp_path / "started"))
        until((tmp_path / "started").exists)
        assert pool.interrupt(call, ValueError("now"))
        until(lambda: call.finished)
        assert (call.value, call.error) == ("interrupted", None)


def test_an_interrupt_is_raised_inside_a_coroutine_that_runs_in_a_child(tmp_path: Path) -> None:
    with PreforkPool(1) as pool:
        call = pool.spawn(pool.bind(chores.patient), str(tmp_path / "started"))
        until((tmp_path / "started").exists)
        assert pool.interrupt(call, ValueError("it"))
        until(lambda: call.finished)
        assert (call.value, call.error) == ("handled it", None)


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────


def test_children_hold_no_sockets_but_their_own() -> None:
    with PreforkPool(6) as pool:
        assert {outcome(pool, chores.sockets).value for _ in range(12)} == {2}


def test_resizing_adds_and_removes_children() -> None:
    def living() -> int:
        return sum(len(nursery.children) for nursery in pool._keeper._nurseries)

    with PreforkPool(1) as pool:
        for size in (4, 2, 5, 1):
            pool.resize(size)
            until(lambda size=size: living() == size)  # type: ignore[misc]
        assert outcome(pool, chores.combine, 1).value == (1,)


def test_terminal_signals_do_nothing_in_children_and_the_usual_in_what_they_start() -> None:
    with PreforkPool(1) as pool:
        assert outcome(pool, chores.survive_signals).value == "alive"
        assert outcome(pool, chores.stop_a_subprocess).value == -signal.SIGTERM


def test_a_call_that_forks_answers_once() -> None:
    with PreforkPool(1) as pool:
        assert [outcome(pool, chores.fork_and_return).value for _ in range(5)] == ["forked"] * 5
        assert outcome(pool, chores.combine, 1).value == (1,)


# ── done ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_done_may_be_slow_and_may_spawn() -> None:
    ended: list[object] = []

    def again(call: Call) -> None:
        time.sleep(0.02)
        ended.append(call.value)
        if len(ended) < 40:
            pool.spawn(chores.combine, len(ended), done=again)
            pool.spawn(chores.combine, "extra", done=lambda call: ended.append(call.value))

    with PreforkPool(1) as pool:
        pool.spawn(chores.combine, 0, done=again)
        until(lambda: len(ended) >= 40)
        until(lambda: pool.busy == 0)


def test_a_done_cannot_close_the_pool() -> None:
    errors: list[PoolError] = []

    def close(call: Call) -> None:
        try:
            pool.close()
        except PoolError as error:
            errors.append(error)

    with PreforkPool(1) as pool:
        pool.spawn(chores.combine, done=close)
        until(lambda: errors)
    with pytest.raises(PoolClosed):
        pool.spawn(chores.combine)


def test_a_patched_process_is_told_to_use_its_own_pool() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gevent import monkey; monkey.patch_all(); import pools; pools.create('prefork', 1)",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "PoolError" in ended.stderr
    assert "gevent" in ended.stderr
