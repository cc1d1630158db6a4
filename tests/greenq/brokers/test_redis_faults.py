"""The Redis broker when the network or the server fails."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.errors import BrokerError, BrokerUnreachable, PublishError, PublishTimeout
from greenq.message import Depth, Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.servers import Proxy, RedisServer, free_port, shared_redis, start_redis


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    between = Proxy(shared_redis().port)
    yield between
    between.close()


def through(proxy: Proxy, url: str) -> str:
    return f"redis://127.0.0.1:{proxy.port}/{url.rpartition('/')[2]}"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    started = start_redis("--appendonly", "yes", "--appendfsync", "always")
    yield started
    started.stop()


# ── nobody, or the wrong one, answers ────────────────────────────────────────────────────────────────────


def test_nobody_answers() -> None:
    with RedisBroker(f"redis://127.0.0.1:{free_port()}") as broker:
        started = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="nobody answers"):
            broker.publish([make()], PATIENCE)
        with pytest.raises(BrokerUnreachable):
            broker.lease("process", 5.0)
        with pytest.raises(BrokerUnreachable):
            broker.depth()
        assert time.monotonic() - started < PATIENCE / 2


def test_who_answers_is_no_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.close()

        threading.Thread(target=answer, daemon=True).start()
        with (
            RedisBroker(f"redis://127.0.0.1:{listener.getsockname()[1]}") as broker,
            pytest.raises(BrokerError) as e,
        ):
            broker.depth()
    assert "no Redis server" in str(e.value)


def test_a_server_that_never_answers_is_late() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        RedisBroker(f"redis://127.0.0.1:{listener.getsockname()[1]}", 0.3) as broker,
    ):
        with pytest.raises(BrokerError, match="does not answer"):
            broker.depth()
        [problem] = broker.publish([make()], 0.3)
        assert type(problem) is PublishError
        assert "nothing was sent" in str(problem)


def test_a_wrong_password_is_said_and_not_shown() -> None:
    server = start_redis("--requirepass", "right", url="redis://:right@127.0.0.1:{port}")
    for url in (f"redis://127.0.0.1:{server.port}", f"redis://:wr0ng@127.0.0.1:{server.port}"):
        with RedisBroker(url) as broker:
            with pytest.raises(BrokerError) as caught:
                broker.lease("process", 5.0)
            assert "password" in str(caught.value)
            assert "wr0ng" not in str(caught.value)
            [problem] = broker.publish([make()], 5.0)
            assert isinstance(problem, PublishError)
    with RedisBroker(server.url) as broker:
        assert broker.publish([make()], PATIENCE) == [None]
    server.stop()


def test_a_user_of_an_access_list_works() -> None:
    server = start_redis()
    server.do("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all")
    server.do("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+@connection")
    with RedisBroker(f"redis://worker:pw@127.0.0.1:{server.port}") as broker:
        assert broker.publish([make()], PATIENCE) == [None]
    with RedisBroker(f"redis://reader:pw@127.0.0.1:{server.port}") as broker:
        [problem] = broker.publish([make()], PATIENCE)
        assert "ACL SETUSER" in str(problem)
    server.stop()


def test_a_full_server_refuses_and_says_why() -> None:
    server = start_redis()
    with RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        used = server.do("INFO", "memory").partition(b"used_memory:")[2].partition(b"\r")[0]
        server.do("CONFIG", "SET", "maxmemory", int(used) + 3_000_000)
        big = make(body=b"x" * 500_000)
        answers: list[Any] = []
        while not answers or answers[-1] is None:
            answers += broker.publish([big], PATIENCE)
        assert isinstance(answers[-1], PublishError)
        assert "out of memory" in str(answers[-1])
        # What is there can be worked off all the same.
        server.do("CONFIG", "SET", "maxmemory", 0)
        taken = take(broker, len(answers) - 1)
        server.do("CONFIG", "SET", "maxmemory", "1mb")
        broker.renew()
        assert all(settle(broker, taken, Verdict.ACK))
    server.stop()


def test_a_replica_is_refused_with_what_to_do() -> None:
    replica = start_redis("--replicaof", "127.0.0.1", str(free_port()))
    with RedisBroker(replica.url, 1.0) as broker:
        [problem] = broker.publish([make()], 1.0)
        assert isinstance(problem, PublishError)
        assert "replica" in str(problem)
    replica.stop()


# ── lost connections ─────────────────────────────────────────────────────────────────────────────────────


def test_a_publish_without_an_answer_may_have_arrived(proxy: Proxy) -> None:
    url = shared_redis().empty()
    with RedisBroker(through(proxy, url)) as broker:
        assert broker.publish([make("first")], PATIENCE) == [None]
        proxy.mute = True
        problems = broker.publish([make("a"), make("b")], 0.5)
        assert [type(one) for one in problems] == [PublishTimeout] * 2
        assert "may have arrived" in str(problems[0])
        proxy.mute = False
        assert broker.publish([make("last")], PATIENCE) == [None]
        assert broker.depth()["q"] == Depth(ready=4)


def test_what_a_lost_answer_had_leased_comes_back(proxy: Proxy) -> None:
    """The server has leased them, but nobody was told: the living process must not keep them for ever."""
    url = shared_redis().empty()
    with RedisBroker(through(proxy, url), 1.0) as broker:
        broker.lease("process", 30.0)
        broker.publish(many(20), PATIENCE)
        assert ids(broker.fetch(["q"], 5, 0.0)) == ["0", "1", "2", "3", "4"]
        proxy.mute = True
        with pytest.raises(BrokerError):
            broker.fetch(["q"], 10, 0.0)
        assert shared_redis().do("LLEN", "q", url=url) == 5
        proxy.mute = False
        found = take(broker, 15)
        assert ids(found) == [str(n) for n in range(5, 20)]
        assert {one.attempts for one in found} == {0}


def test_killed_connections_are_made_again_and_nothing_is_lost(proxy: Proxy) -> None:
    url = shared_redis().empty()
    seen: list[str] = []
    stop = threading.Event()
    with RedisBroker(through(proxy, url)) as broker, RedisBroker(url) as sender:
        broker.lease("process", 30.0)

        def work() -> None:
            while not stop.is_set():
                try:
                    taken = broker.fetch(["q"], 20, 0.3)
                    settle(broker, taken, Verdict.ACK)
                    seen.extend(ids(taken))
                except BrokerError:
                    time.sleep(0.02)

        worker = threading.Thread(target=work)
        worker.start()
        for number in range(50):
            sender.publish(many(20, headers={"id": f"{number}", "task": "t"}), PATIENCE)
            proxy.cut()
            time.sleep(0.01)
        until(lambda: sender.depth()["q"] == Depth(), "the end of the work")
        stop.set()
        worker.join(PATIENCE)
    assert {n: seen.count(str(n)) for n in range(50)}.keys() == set(range(50))
    assert len(seen) >= 1000 - 20 * 50  # an acknowledgement whose answer was lost is not repeated here


def test_an_idle_fetch_survives_a_killed_connection(proxy: Proxy) -> None:
    url = shared_redis().empty()
    found: list[str] = []
    with RedisBroker(through(proxy, url)) as broker, RedisBroker(url) as sender:
        broker.lease("process", 30.0)
        waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
        waiting.start()
        for _ in range(5):
            time.sleep(0.1)
            proxy.cut()
        time.sleep(0.2)
        sender.publish([make("after")], PATIENCE)
        waiting.join(PATIENCE)
    assert found == ["after"]


def test_client_kill_is_survived() -> None:
    server = start_redis()
    with RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        for number in range(20):
            server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            answers = broker.publish([make(str(number))], PATIENCE)
            assert answers == [None] or isinstance(answers[0], PublishTimeout)
            broker.renew()
            if answers == [None]:
                assert settle(broker, take(broker, 1), Verdict.ACK) == [True]
    server.stop()


def test_scripts_are_loaded_again_when_the_server_forgot_them() -> None:
    server = start_redis()
    with RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        broker.publish(many(3), PATIENCE)
        for _ in range(3):
            server.do("SCRIPT", "FLUSH")
            taken = take(broker, 1)
            server.do("SCRIPT", "FLUSH")
            assert settle(broker, taken, Verdict.ACK) == [True]
    server.stop()


def test_a_restart_loses_nothing_and_declares_nobody_dead(server: RedisServer) -> None:
    with RedisBroker(server.url) as worker, RedisBroker(server.url) as other:
        worker.lease("worker", 2.0)
        other.lease("other", 2.0)
        worker.publish(many(10), PATIENCE)
        held = take(worker, 5)
        server.kill()
        time.sleep(2.5)  # longer than the lease: nobody could renew
        server.start()
        assert other.reap() == 0
        worker.renew()
        assert settle(worker, held, Verdict.ACK) == [True] * 5
        assert ids(take(worker, 5)) == ["5", "6", "7", "8", "9"]
        until(lambda: other.reap() == 5, "the return of what a silent worker held")


def test_waiting_goes_on_after_a_restart(server: RedisServer) -> None:
    found: list[str] = []
    with RedisBroker(server.url) as broker, RedisBroker(server.url) as sender:
        broker.lease("process", 30.0)
        sender.publish([make("before", "other")], PATIENCE)

        def wait() -> None:
            deadline = time.monotonic() + PATIENCE
            while not found and time.monotonic() < deadline:
                try:
                    found.extend(ids(broker.fetch(["q"], 1, 5.0)))
                except BrokerError:
                    time.sleep(0.05)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.2)
        server.kill()
        server.start()
        assert sender.publish([make("after")], PATIENCE) == [None]
        waiting.join(PATIENCE)
    assert found == ["after"]


def test_a_publish_during_a_restart_waits_for_it(server: RedisServer) -> None:
    with RedisBroker(server.url) as broker:
        assert broker.publish([make("before")], PATIENCE) == [None]
        server.kill()
        restart = threading.Timer(1.0, server.start)
        restart.start()
        time.sleep(0.3)
        assert broker.publish([make("during")], PATIENCE) == [None]
        restart.join()
        assert broker.depth()["q"] == Depth(ready=2)
