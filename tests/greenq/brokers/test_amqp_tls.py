"""RabbitMQ over TLS, with several nodes, and known by a certificate."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerError, BrokerUnreachable, ConfigError, PublishTimeout
from greenq.message import Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.greenq.brokers.test_redis_connecting import certificates
from tests.rabbit import RabbitServer, shared_rabbit, start_rabbitmq
from tests.servers import Proxy, free_port


def client_certificate(directory: Path) -> None:
    """A certificate for the user "shop" in client.pem, signed by ca.pem."""
    new = ["-newkey", "rsa:2048", "-nodes"]
    for command in (
        ["req", "-x509", *new, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", *new, "-subj", "/CN=shop", "-keyout", "client.key", "-out", "client.csr"],
        [
            "x509", "-req", "-days", "2", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "client.pem",
        ],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, RabbitServer]]:
    directory = tmp_path_factory.mktemp("tls")
    certificates(directory)
    client_certificate(directory)
    port = free_port()
    server = start_rabbitmq(
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {directory}/ca.pem",
        f"ssl_options.certfile = {directory}/cert.pem",
        f"ssl_options.keyfile = {directory}/key.pem",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = false",
        "auth_mechanisms.1 = PLAIN",
        "auth_mechanisms.2 = EXTERNAL",
        "ssl_cert_login_from = common_name",
        plugins=("rabbitmq_auth_mechanism_ssl",),
    )
    yield f"amqps://127.0.0.1:{port}", directory, server
    server.stop()


def test_a_trusted_certificate(tls: tuple[str, Path, RabbitServer]) -> None:
    url, directory, _ = tls
    with AmqpBroker(f"{url}?ssl_ca_certs={directory}/cert.pem&connect_timeout=60") as broker:
        broker.lease("p", 60.0)
        large = make("big", body=b"x" * 3_000_000)
        assert broker.publish([*many(100), large], PATIENCE) == [None] * 101
        taken = take(broker, 101)
        assert [len(d.message.body) for d in taken if d.message and d.message.headers["id"] == "big"] == [
            3_000_000
        ]
        assert all(settle(broker, taken, Verdict.ACK))
        found: list[str] = []
        waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
        waiting.start()
        until(lambda: broker._inbox.pushes.passing, "the wait")
        broker.publish([make("woken")], PATIENCE)
        waiting.join(PATIENCE)
        assert found == ["woken"]


def test_without_trust_it_is_refused(tls: tuple[str, Path, RabbitServer]) -> None:
    url, _, _ = tls
    with AmqpBroker(url) as broker, pytest.raises(BrokerUnreachable, match="not trusted"):
        broker.depth()
    with AmqpBroker(f"{url}?ssl_cert_reqs=none") as broker:
        assert broker.publish([make(queue="careless")], PATIENCE) == [None]


def test_a_certificate_of_another_host_is_refused(tls: tuple[str, Path, RabbitServer]) -> None:
    url, directory, _ = tls
    elsewhere = f"{url.replace('127.0.0.1', '127.1')}?ssl_ca_certs={directory}/cert.pem"
    with AmqpBroker(elsewhere) as broker, pytest.raises(BrokerUnreachable, match="ssl_check_hostname") as e:
        broker.depth()
    assert "not valid for '127.1'" in str(e.value)
    with AmqpBroker(f"{elsewhere}&ssl_check_hostname=false") as broker:
        assert broker.publish([make(queue="elsewhere")], PATIENCE) == [None]


def test_a_file_of_certificates_that_is_missing_is_named(tls: tuple[str, Path, RabbitServer]) -> None:
    url, directory, _ = tls
    with AmqpBroker(f"{url}?ssl_ca_certs={directory}/nowhere.pem") as broker:
        with pytest.raises(ConfigError, match="ssl_ options"):
            broker.depth()
        with pytest.raises(ConfigError, match="cannot be read"):
            broker.publish([make()], PATIENCE)


def test_our_certificate_says_who_we_are(tls: tuple[str, Path, RabbitServer]) -> None:
    url, directory, server = tls
    ours = f"ssl_certfile={directory}/client.pem&ssl_keyfile={directory}/client.key"
    address = f"{url}?ssl_ca_certs={directory}/cert.pem&{ours}&login_method=EXTERNAL"
    server.control("add_user", "shop", "unused")
    server.control("set_permissions", "shop", ".*", ".*", ".*")
    with AmqpBroker(address) as broker:
        assert broker.publish([make(queue="certified")], PATIENCE) == [None]


def test_when_a_node_fails_the_next_is_used() -> None:
    first, second = Proxy(shared_rabbit().port), Proxy(shared_rabbit().port)
    vhost = shared_rabbit().empty().rpartition("/")[2]
    url = f"amqp://127.0.0.1:{first.port}/{vhost};amqp://127.0.0.1:{second.port}/{vhost}"
    with AmqpBroker(url) as broker:
        broker.lease("p", 60.0)
        assert broker.publish([make("before")], PATIENCE) == [None]
        first.close()

        def arrived() -> bool:
            # What was under way when the node failed is unsure, and said to be so; what comes then is not.
            (error,) = broker.publish([make("after")], PATIENCE)
            assert error is None or isinstance(error, PublishTimeout)
            return error is None

        until(arrived, "the publish by the second node")
        found: list[str] = []

        def all_there() -> bool:
            try:
                found.extend(ids(broker.fetch(["q"], 2, 0.5)))
            except BrokerError:
                return False
            return len(set(found)) == 2

        until(all_there, "the delivery of both by the second node")
    second.close()
