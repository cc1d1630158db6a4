"""The ways to a Redis server: Unix sockets, TLS, Sentinel."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.errors import BrokerError, BrokerUnreachable
from greenq.message import Verdict
from greenq.redis.address import parse
from greenq.redis.client import Client
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.servers import RedisServer, free_port, start_redis


def test_a_unix_socket() -> None:
    server = start_redis("--unixsocket", "s.sock", url="redis+socket://{directory}/s.sock")
    with RedisBroker(f"{server.url}?virtual_host=3") as broker:
        broker.lease("process", 30.0)
        broker.publish(many(3), PATIENCE)
        broker.renew()
        assert settle(broker, take(broker, 3), Verdict.ACK) == [True] * 3
    server.stop()


def certificates(directory: Path) -> None:
    """A self-signed certificate for 127.0.0.1, in key.pem and cert.pem."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", directory / "key.pem", "-out", directory / "cert.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, Path]]:
    directory = tmp_path_factory.mktemp("tls")
    certificates(directory)
    port = free_port()
    server = start_redis(
        "--tls-port", str(port), "--tls-cert-file", str(directory / "cert.pem"),
        "--tls-key-file", str(directory / "key.pem"), "--tls-ca-cert-file", str(directory / "cert.pem"),
        "--tls-auth-clients", "optional",
    )  # fmt: skip
    server.url = f"rediss://127.0.0.1:{port}"
    yield server, directory
    server.stop()


def test_tls_with_a_trusted_certificate(tls: tuple[RedisServer, Path]) -> None:
    server, directory = tls
    certificate, key = directory / "cert.pem", directory / "key.pem"
    url = f"{server.url}?ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}"
    with RedisBroker(url) as broker:
        broker.lease("process", 30.0)
        broker.publish([*many(100), make("big", body=b"x" * 3_000_000)], PATIENCE)
        broker.renew()
        taken = take(broker, 101)
        assert len(taken[-1].message.body if taken[-1].message else b"") == 3_000_000
        assert all(settle(broker, taken, Verdict.ACK))
        found: list[str] = []
        waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
        waiting.start()
        time.sleep(0.2)
        broker.publish([make("woken")], PATIENCE)
        waiting.join(PATIENCE)
        assert found == ["woken"]
        broker.wake()


def test_a_certificate_of_another_host_is_refused(tls: tuple[RedisServer, Path]) -> None:
    server, directory = tls
    elsewhere = f"{server.url.replace('127.0.0.1', '127.1')}?ssl_ca_certs={directory}/cert.pem"
    with RedisBroker(elsewhere) as broker, pytest.raises(BrokerUnreachable, match="ssl_check_hostname"):
        broker.depth()
    with RedisBroker(f"{elsewhere}&ssl_check_hostname=false") as broker:
        assert broker.publish([make()], PATIENCE) == [None]


def test_tls_without_trust_is_refused(tls: tuple[RedisServer, Path]) -> None:
    server, _ = tls
    with RedisBroker(server.url) as broker, pytest.raises(BrokerUnreachable, match="not trusted"):
        broker.depth()
    with RedisBroker(f"{server.url}?ssl_cert_reqs=none") as broker:
        assert broker.publish([make()], PATIENCE) == [None]


def test_sentinel_leads_to_the_new_primary() -> None:
    primary = start_redis()
    replica = start_redis("--replicaof", "127.0.0.1", str(primary.port))
    port = free_port()
    directory = primary.directory
    (directory / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
        f"sentinel monitor shop 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n"
    )
    with (directory / "sentinel.log").open("w") as log:
        sentinel = subprocess.Popen(
            ["redis-server", str(directory / "sentinel.conf"), "--sentinel"], stdout=log, stderr=log
        )
    try:
        until(lambda: b"slave0:ip" in primary.do("INFO", "replication"), "the replication")
        url = f"sentinel://127.0.0.1:{free_port()};sentinel://127.0.0.1:{port}/0?master_name=shop"
        with RedisBroker(url) as broker:

            def known() -> bool:
                with contextlib.suppress(BrokerError):
                    broker.lease("process", 30.0)
                    return True
                return False

            until(known, "the sentinel's start")
            until(
                lambda: b"num-slaves" in _master(port) and b"num-slaves 0" not in _master(port), "the replica"
            )
            assert broker.publish(many(5), PATIENCE) == [None] * 5
            taken = take(broker, 2)
            until(lambda: replica.do("HLEN", "greenq.leased:process") == 2, "the copy of the leases")
            primary.kill()

            def goes_on() -> bool:
                with contextlib.suppress(BrokerError):
                    return broker.publish([make("after")], 2.0) == [None]
                return False

            until(goes_on, "the failover")
            assert settle(broker, taken, Verdict.ACK) == [True, True]
            rest = take(broker, 4)
            assert ids(rest)[:3] == ["2", "3", "4"]
            assert b"role:master" in replica.do("INFO", "replication")
    finally:
        sentinel.terminate()
        sentinel.wait()
        primary.stop()
        replica.stop()


def _master(port: int) -> bytes:
    client = Client(parse(f"redis://127.0.0.1:{port}"))
    try:
        found = client.do("SENTINEL", "MASTER", "shop", deadline=time.monotonic() + 5)
    finally:
        client.close()
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return b" ".join(b"%b %b" % (bytes(k), bytes(v)) for k, v in pairs)
