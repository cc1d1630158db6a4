"""The RabbitMQ broker when connections, channels or the server fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from greenq.amqp import methods
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerError, BrokerUnreachable, PublishError, PublishTimeout
from greenq.message import Delivery, Depth, Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.rabbit import RabbitServer, shared_rabbit, start_rabbitmq
from tests.servers import Proxy


@pytest.fixture
def broker() -> Iterator[AmqpBroker]:
    with AmqpBroker(shared_rabbit().empty()) as made:
        made.lease("p", 60.0)
        yield made


def cut(broker: AmqpBroker) -> None:
    """End both of its connections as an operator would, and wait until it knows."""
    sessions = [broker._inbox.line.alive, broker._publisher.line.alive]
    shared_rabbit().cut()
    until(lambda: all(s is None or s.lost is not None for s in sessions), "the loss of the connections")


class TestAfterALostConnection:
    def test_a_waiting_fetch_goes_on(self, broker: AmqpBroker) -> None:
        found: list[str] = []

        def wait() -> None:
            while not found:
                try:
                    found.extend(ids(broker.fetch(["q"], 1, PATIENCE)))
                except BrokerError:
                    time.sleep(0.05)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        until(lambda: broker._inbox.pushes.passing, "the wait")
        cut(broker)
        broker.publish([make("after")], PATIENCE)
        thread.join(PATIENCE)
        assert found == ["after"]

    def test_publishing_goes_on(self, broker: AmqpBroker) -> None:
        for number in range(3):
            assert broker.publish([make(str(number))], PATIENCE) == [None]
            cut(broker)
        assert ids(take(broker, 3)) == ["0", "1", "2"]

    def test_what_runs_here_is_not_delivered_again_and_can_be_settled(self, broker: AmqpBroker) -> None:
        broker.publish(many(20), PATIENCE)
        held = take(broker, 20)
        cut(broker)
        assert broker.fetch(["q"], 100, 1.0) == []
        assert broker.depth()["q"].leased == 20
        assert settle(broker, held, Verdict.ACK) == [True] * 20
        assert broker.fetch(["q"], 100, 0.3) == []
        assert broker.depth()["q"].ready == 0

    def test_what_ended_meanwhile_is_lost_and_not_run_again_here(self, broker: AmqpBroker) -> None:
        broker.publish(many(5), PATIENCE)
        held = take(broker, 5)
        cut(broker)
        assert settle(broker, held, Verdict.ACK) == [False] * 5
        assert broker.fetch(["q"], 10, 1.0) == []
        assert broker.depth()["q"].ready == 0

    def test_a_retry_with_the_same_id_is_not_taken_for_it(self, broker: AmqpBroker) -> None:
        broker.publish([make("same")], PATIENCE)
        held = take(broker, 1)
        cut(broker)
        assert settle(broker, held, Verdict.ACK) == [False]
        again = make("same", headers={"id": "same", "task": "tests.add", "retries": 1})
        broker.publish([again], PATIENCE)
        assert [d.message and d.message.headers["retries"] for d in take(broker, 1)] == [1]

    def test_another_process_gets_what_was_held(self, broker: AmqpBroker) -> None:
        broker.publish([make("moved")], PATIENCE)
        late = take(broker, 1)
        with AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}") as other:
            other.lease("other", 60.0)
            cut(broker)
            [delivery] = take(other, 1)
            assert delivery.attempts == 1
            assert settle(broker, late, Verdict.ACK) == [False]
            assert settle(other, [delivery], Verdict.ACK) == [True]


class TestAttempts:
    @pytest.mark.parametrize("kind", ["classic", "quorum"])
    def test_a_message_that_kills_its_processes_is_counted_each_time(
        self, broker: AmqpBroker, kind: str
    ) -> None:
        url = f"{shared_rabbit().url}/{broker.address.vhost}?queue_type={kind}"
        with AmqpBroker(url) as sender:
            sender.publish([make("poison", kind)], PATIENCE)
        seen = []
        for number in range(5):
            other = AmqpBroker(url)
            other.declare([kind])
            other.lease(f"victim-{number}", 60.0)
            until(lambda to=other: to.depth()[kind].ready, "its return")
            [delivery] = take(other, 1, [kind])
            seen.append(delivery.attempts)
            if delivery.attempts:
                assert other.charge([delivery], PATIENCE) == [True]
            other.close()
        assert seen == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("kind", ["classic", "quorum"])
    def test_what_another_process_gave_back_is_not_suspect(self, broker: AmqpBroker, kind: str) -> None:
        url = f"{shared_rabbit().url}/{broker.address.vhost}?queue_type={kind}"
        with AmqpBroker(url) as sender:
            sender.publish([make("innocent", kind)], PATIENCE)
        for number in range(3):
            with AmqpBroker(url) as other:
                other.lease(f"stopped-{number}", 60.0)
                [delivery] = take(other, 1, [kind])
                assert delivery.attempts == 0
                assert settle(other, [delivery], Verdict.REQUEUE) == [True]

    def test_what_died_in_its_trial_returns_though_nobody_of_ours_is_left(self, broker: AmqpBroker) -> None:
        broker.publish([make()], PATIENCE)
        other = AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}")
        other.lease("dies", 60.0)
        deliveries = take(other, 1)
        assert other.charge(deliveries, PATIENCE) == [True]
        time.sleep(1.5)  # longer than the trial queue keeps what nobody holds
        assert broker.depth()["q"].ready == 0
        other.close()
        [delivery] = take(broker, 1)
        assert (delivery.message, delivery.attempts) == (make(), 1)

    def test_what_lost_its_lease_before_it_was_charged_is_handed_out_again(self, broker: AmqpBroker) -> None:
        broker.publish([make()], PATIENCE)
        other = AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}")
        other.lease("dies", 60.0)
        take(other, 1)
        other.close()
        [delivery] = take(broker, 1)
        cut(broker)
        assert broker.charge([delivery], PATIENCE) == [False]
        [again] = take(broker, 1)
        assert (again.message, again.attempts) == (delivery.message, 1)
        assert broker.charge([again], PATIENCE) == [True]
        assert settle(broker, [delivery, again], Verdict.ACK) == [False, True]

    def test_settling_waits_for_a_charge_that_is_under_way(self, broker: AmqpBroker) -> None:
        broker.publish(many(300), PATIENCE)
        deliveries = take(broker, 300)
        charged: list[bool] = []
        charging = threading.Thread(target=lambda: charged.extend(broker.charge(deliveries, PATIENCE)))
        charging.start()
        until(lambda: broker._ledger.loans or charged, "the charge")
        assert all(settle(broker, deliveries, Verdict.ACK))
        charging.join(PATIENCE)
        assert charged == [True] * 300
        assert broker.depth()["q"] == Depth()

    def test_what_is_given_back_here_is_not_counted(self, broker: AmqpBroker) -> None:
        broker.publish([make()], PATIENCE)
        for _ in range(4):
            [delivery] = take(broker, 1)
            assert delivery.attempts == 0
            settle(broker, [delivery], Verdict.REQUEUE)

    def test_the_count_survives_a_delay(self, broker: AmqpBroker) -> None:
        broker.publish([make()], PATIENCE)
        other = AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}")
        other.lease("dies", 60.0)
        take(other, 1)
        other.close()
        [delivery] = take(broker, 1)
        assert settle(broker, [delivery], Verdict.RETRY_AT, due=time.time() + 0.3) == [True]
        assert take(broker, 1)[0].attempts == 1


class TestSurplus:
    def test_what_there_is_no_room_for_is_left_to_others(self, broker: AmqpBroker) -> None:
        queues = ["one", "two", "three"]
        url = f"{shared_rabbit().url}/{broker.address.vhost}"
        with AmqpBroker(url) as other:
            other.lease("other", 60.0)
            for round_ in range(10):
                found: list[Delivery] = []
                waiting = threading.Thread(
                    target=lambda to=found: to.extend(broker.fetch(queues, 1, PATIENCE)), daemon=True
                )
                waiting.start()
                until(lambda: len(broker._inbox.pushes.passing) >= 3, "the wait")
                other.publish([make(f"{round_}", queue) for queue in queues], PATIENCE)
                waiting.join(PATIENCE)
                assert len(found) == 1
                rest = take(other, 2, queues)
                assert {d.queue for d in [*found, *rest]} == set(queues)
                # One that comes when its consumer was cancelled already is refused, and suspect.
                assert all(d.attempts <= 1 for d in rest)
                assert all(settle(other, rest, Verdict.ACK))
                assert all(settle(broker, found, Verdict.ACK))


class TestQueues:
    def test_a_queue_that_was_deleted_is_an_error_that_names_it_and_then_made_again(
        self, broker: AmqpBroker
    ) -> None:
        broker.publish([make()], PATIENCE)
        delete(broker, "q")
        [error] = broker.publish([make()], PATIENCE)
        assert isinstance(error, PublishError)
        assert not isinstance(error, PublishTimeout)
        assert "'q'" in str(error)
        assert broker.publish([make("again")], PATIENCE) == [None]
        assert broker.depth()["q"].ready == 1

    def test_a_full_queue_that_refuses_is_an_error_that_names_it(self, broker: AmqpBroker) -> None:
        session = broker._publisher.line.session(time.monotonic() + PATIENCE)
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        session.together([methods.declare_queue(1, "full", arguments=arguments)], time.monotonic() + PATIENCE)
        errors = broker.publish(many(3, "full"), PATIENCE)
        assert errors[0] is None
        assert all(isinstance(e, PublishError) and "'full' refused" in str(e) for e in errors[1:])
        assert broker.depth()["full"].ready == 1

    def test_a_batch_tells_which_of_it_was_unroutable(self, broker: AmqpBroker) -> None:
        broker.publish([make("a", "gone"), make("b", "there")], PATIENCE)
        delete(broker, "gone")
        errors = broker.publish([make(str(n), "gone" if n % 2 else "there") for n in range(10)], PATIENCE)
        assert [error is None for error in errors] == [True, False] * 5

    def test_a_waiting_fetch_finds_a_queue_that_was_deleted_and_made_again(self, broker: AmqpBroker) -> None:
        assert broker.fetch(["q"], 1, 0.2) == []
        delete(broker, "q")
        assert broker.fetch(["q"], 1, 0.2) == []
        broker.publish([make("anew")], PATIENCE)
        assert ids(take(broker, 1)) == ["anew"]

    def test_a_queue_deleted_while_messages_are_asked_for_costs_one_error(self, broker: AmqpBroker) -> None:
        broker.publish(many(3), PATIENCE)
        take(broker, 1)
        delete(broker, "q")
        with pytest.raises(BrokerError):
            broker.fetch(["q"], 1, 0.2)
        assert broker.fetch(["q"], 1, 0.2) == []

    def test_a_queue_of_another_type_is_used_as_it_is(self, broker: AmqpBroker) -> None:
        with AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}?queue_type=quorum") as other:
            other.declare(["q"])
        assert broker.publish([make()], PATIENCE) == [None]
        assert ids(take(broker, 1)) == ["1"]


def delete(broker: AmqpBroker, queue: str) -> None:
    session = broker._publisher.line.session(time.monotonic() + PATIENCE)
    session.together([methods.delete_queue(1, queue)], time.monotonic() + PATIENCE)


class TestNobodyAnswers:
    def test_nothing_listens_there(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            broker = AmqpBroker(f"amqp://127.0.0.1:{free.getsockname()[1]}")
            started = time.monotonic()
            with pytest.raises(BrokerUnreachable, match=r"nobody answers at 127\.0\.0\.1"):
                broker.publish([make()], 10.0)
            with pytest.raises(BrokerUnreachable):
                broker.lease("p", 60.0)
            assert time.monotonic() - started < 5.0

    def test_the_password_is_wrong_and_is_not_shown(self) -> None:
        broker = AmqpBroker(f"amqp://guest:s3cret@127.0.0.1:{shared_rabbit().port}")
        with pytest.raises(BrokerUnreachable, match="user") as refused:
            broker.lease("p", 60.0)
        assert "s3cret" not in str(refused.value)

    def test_the_virtual_host_does_not_exist(self) -> None:
        with pytest.raises(BrokerUnreachable, match="virtual host"):
            AmqpBroker(f"{shared_rabbit().url}/nowhere").lease("p", 60.0)

    def test_something_else_listens_there(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            client, _ = listener.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(BrokerUnreachable, match="AMQP"):
            AmqpBroker(f"amqp://127.0.0.1:{listener.getsockname()[1]}").lease("p", 60.0)
        listener.close()

    def test_the_second_node_answers(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            vhost = shared_rabbit().empty().rpartition("/")[2]
            url = f"amqp://127.0.0.1:{free.getsockname()[1]};{shared_rabbit().url}/{vhost}"
            with AmqpBroker(url) as broker:
                assert broker.publish([make()], PATIENCE) == [None]

    def test_a_publish_without_a_confirmation_says_that_it_may_have_arrived(self) -> None:
        proxy = Proxy(shared_rabbit().port)
        vhost = shared_rabbit().empty().rpartition("/")[2]
        with AmqpBroker(f"amqp://127.0.0.1:{proxy.port}/{vhost}") as broker:
            assert broker.publish([make("first")], PATIENCE) == [None]
            proxy.mute = True
            started = time.monotonic()
            [error] = broker.publish([make("second")], 0.5)
            assert time.monotonic() - started < 5.0
            assert isinstance(error, PublishTimeout)
            assert "may have arrived" in str(error)
        proxy.close()

    def test_a_silent_server_is_noticed_by_its_heartbeats(self) -> None:
        proxy = Proxy(shared_rabbit().port)
        vhost = shared_rabbit().empty().rpartition("/")[2]
        with AmqpBroker(f"amqp://127.0.0.1:{proxy.port}/{vhost}?heartbeat=1") as broker:
            broker.lease("p", 60.0)
            assert broker.fetch(["q"], 1, 2.5) == []  # heartbeats keep an idle connection
            proxy.mute = True
            with pytest.raises(BrokerError, match="silent"):
                broker.fetch(["q"], 1, PATIENCE)
            proxy.mute = False
            proxy.cut()
            broker.publish([make("after")], PATIENCE)
            assert ids(take(broker, 1)) == ["after"]
        proxy.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    own = start_rabbitmq()
    yield own
    own.stop()


class TestTheServer:
    def test_in_flow_control_an_error_comes_at_the_deadline(self, server: RabbitServer) -> None:
        with AmqpBroker(server.empty()) as broker:
            assert broker.publish([make("before")], PATIENCE) == [None]
            server.control("set_vm_memory_high_watermark", "absolute", "1")
            try:
                [error] = broker.publish([make("blocked")], 1.0)
                assert isinstance(error, PublishTimeout)
                [error] = broker.publish([make("blocked")], 1.0)
                assert isinstance(error, PublishTimeout)
                assert "takes no messages now" in str(error)
                assert broker.depth()["q"].ready == 1
            finally:
                server.control("set_vm_memory_high_watermark", "absolute", "4GB")
            assert broker.publish([make("after")], PATIENCE) == [None]

    def test_a_killed_server_that_comes_back_has_everything(self, server: RabbitServer) -> None:
        with AmqpBroker(server.empty()) as broker:
            broker.lease("p", 60.0)
            broker.publish(many(100), PATIENCE)
            broker.publish(many(5, due=time.time() + 3600), PATIENCE)
            held = take(broker, 10)
            server.kill()
            until(lambda: broker._inbox.line.alive is None, "the loss of the connection")
            server.start()
            found: list[Delivery] = []

            def all_again() -> bool:
                try:
                    found.extend(broker.fetch(["q"], 200, 1.0))
                except BrokerError:
                    return False
                return len(found) >= 90

            until(all_again, "the return of ninety messages", 60.0)
            assert len(found) == 90
            assert broker.depth()["q"].delayed == 5
            assert settle(broker, [*held, *found], Verdict.ACK) == [True] * 100
            assert broker.publish([make("after")], PATIENCE) == [None]
