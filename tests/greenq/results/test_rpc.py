"""Results as replies over RabbitMQ reach the process that made the call."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from greenq import GreenQ
from greenq.errors import ConfigError, ResultStoreError
from greenq.message import FAILURE, RETRY, STARTED, SUCCESS, Result
from greenq.results.rpc import RpcStore
from greenq.testing.actor import Actor
from greenq.testing.messages import PATIENCE, until
from greenq.testing.payloads import decode, encode
from tests.rabbit import shared_rabbit


@pytest.fixture
def url() -> str:
    return shared_rabbit().empty().replace("amqp://", "rpc://")


@pytest.fixture
def caller(url: str) -> Iterator[RpcStore]:
    with RpcStore(url, encode, decode) as store:
        yield store


@pytest.fixture
def worker(url: str) -> Iterator[RpcStore]:
    with RpcStore(url, encode, decode) as store:
        yield store


def reply(worker: RpcStore, caller: RpcStore, id: str, state: str = SUCCESS, value: object = None) -> None:
    """Send one result where the call wants it."""
    result = Result(id, state, value, reply_to=caller.reply_to)
    worker.encode(result)
    worker.put([result], PATIENCE)


def test_a_reply_reaches_who_called(caller: RpcStore, worker: RpcStore) -> None:
    reply(worker, caller, "task", FAILURE, {"exc_type": "ValueError"})
    found = caller.wait(["task"], PATIENCE)["task"]
    assert (found.state, found.value) == (FAILURE, {"exc_type": "ValueError"})
    assert set(caller.get(["task", "other"], PATIENCE)) == {"task"}
    assert worker.get(["task"], PATIENCE) == {}


def test_a_waiter_is_woken_by_the_end_and_by_nothing_less(caller: RpcStore, worker: RpcStore) -> None:
    found: list[dict[str, Result]] = []
    thread = threading.Thread(target=lambda: found.append(caller.wait(["task"], PATIENCE)), daemon=True)
    thread.start()
    for state in (STARTED, RETRY):
        reply(worker, caller, "task", state, state)
    until(lambda: caller.get(["task"], 1.0)["task"].state == RETRY, "the news of the retry")
    assert not found
    reply(worker, caller, "task", value="end")
    thread.join(PATIENCE)
    assert found[0]["task"].value == "end"


def test_a_final_state_stays(caller: RpcStore, worker: RpcStore) -> None:
    for value in (1, 2):
        reply(worker, caller, "task", value=value)
    reply(worker, caller, "after")
    caller.wait(["after"], PATIENCE)
    assert caller.get(["task"], 1.0)["task"].value == 1


def test_a_thousand_replies_go_in_one_batch(caller: RpcStore, worker: RpcStore) -> None:
    results = [Result(f"t{n}", SUCCESS, n, reply_to=caller.reply_to) for n in range(1000)]
    for result in results:
        worker.encode(result)
    worker.put(results, PATIENCE)
    left = {result.id for result in results}
    while left:
        found = caller.wait(left, PATIENCE)
        assert found, "a reply did not come"
        left -= set(found)


def test_who_wants_no_reply_or_is_gone_gets_none(caller: RpcStore, worker: RpcStore) -> None:
    for reply_to in (None, "", "greenq.replies.gone"):
        result = Result("x", SUCCESS, reply_to=reply_to)
        worker.encode(result)
        worker.put([result], PATIENCE)


def test_a_wait_ends_after_its_timeout(caller: RpcStore) -> None:
    started = time.monotonic()
    assert caller.wait(["never"], 0.3) == {}
    assert 0.25 < time.monotonic() - started < PATIENCE


def test_waiting_goes_on_after_a_lost_connection(caller: RpcStore, worker: RpcStore) -> None:
    found: list[dict[str, Result]] = []
    queue = caller.reply_to
    thread = threading.Thread(target=lambda: found.append(caller.wait(["task"], PATIENCE)), daemon=True)
    thread.start()
    before = caller._publisher.line.alive
    assert before is not None
    shared_rabbit().cut()
    until(lambda: before.lost is not None, "the loss of the connection")
    assert caller.reply_to == queue
    reply(worker, caller, "task", value="after")
    thread.join(PATIENCE)
    assert found[0]["task"].value == "after"


def test_a_forgotten_reply_is_gone(caller: RpcStore, worker: RpcStore) -> None:
    reply(worker, caller, "task")
    caller.wait(["task"], PATIENCE)
    caller.forget(["task", "never"])
    assert caller.get(["task"], 1.0) == {}


def test_a_closed_store_says_so_and_takes_its_queue_along(url: str, worker: RpcStore) -> None:
    store = RpcStore(url, encode, decode)
    queue = store.reply_to
    store.close()
    store.close()
    for call in (lambda: store.get(["x"], 1.0), lambda: store.wait(["x"], 1.0), lambda: store.reply_to):
        with pytest.raises(ResultStoreError, match="closed"):
            call()
    vhost = url.rpartition("/")[2]
    until(lambda: queue not in shared_rabbit().control("list_queues", "-p", vhost, "name"), "the queue's end")


@pytest.mark.parametrize("how", [("gevent",), ("gevent", "patched"), ("eventlet",), ("eventlet", "patched")])
def test_a_wait_does_not_stop_a_hub(url: str, how: tuple[str, ...]) -> None:
    with Actor("tests.greenq.results.test_rpc:answering", url, "hub_wait", *how) as actor:
        ticks, found = actor.says()
    assert found == [[], ["there"]] or found == [[[], ["there"]]]
    assert ticks > 20


def answering(url: str, *coders: object) -> RpcStore:
    """A store whose own results come back to it, as the suite's other process expects."""
    store = RpcStore(url, encode, decode)
    put = store.put

    def put_to_itself(results: list[Result], timeout: float) -> None:
        for result in results:
            result.reply_to = store.reply_to
        put(results, timeout)

    store.put = put_to_itself  # type: ignore[method-assign,assignment]
    return store


def test_rpc_alone_means_the_brokers_server_and_needs_rabbitmq() -> None:
    with pytest.raises(ConfigError, match="RabbitMQ"):
        GreenQ("shop", broker="memory://rpc", results="rpc://").results  # noqa: B018
    app = GreenQ("shop", broker="amqps://u:p@one;amqps://two/v", results="rpc://")
    assert isinstance(app.results, RpcStore)
    address = app.results._publisher.line.address
    assert address.nodes == (("one", 5671), ("two", 5671))
    assert (address.vhost, address.user, address.tls is not None) == ("v", "u", True)
    app.close()
