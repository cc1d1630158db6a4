"""Addresses of RabbitMQ: what they may say, and what is a mistake."""

from __future__ import annotations

import pytest

from greenq.amqp.address import parse
from greenq.errors import ConfigError


def test_nothing_said_is_a_server_here() -> None:
    address = parse("amqp://")
    assert address.nodes == (("localhost", 5672),)
    assert (address.user, address.password, address.vhost, address.tls) == ("guest", "guest", "/", None)


def test_everything_said_is_heard() -> None:
    address = parse(
        "amqps://us%40er:p%2Fw@one:1234;amqps://two/my%2Fhost?heartbeat=0&connect_timeout=2&queue_type=quorum"
        "&ssl_cert_reqs=none&consumer_timeout=60"
    )
    assert address.nodes == (("one", 1234), ("two", 5671))
    assert (address.user, address.password, address.vhost) == ("us@er", "p/w", "my/host")
    assert (address.heartbeat, address.connect_timeout, address.queue_type) == (0, 2, "quorum")
    assert address.tls is not None
    assert address.tls.verify == "none"
    assert address.consumer_timeout == 60


@pytest.mark.parametrize("url", ["amqp://h", "amqp://h/", "amqp://h//", "pyamqp://h:5672//"])
def test_an_empty_virtual_host_is_the_default_one(url: str) -> None:
    assert parse(url).vhost == "/"


@pytest.mark.parametrize(
    ("url", "saying"),
    [
        ("amqp://h?heartbeet=1", "did you mean heartbeat"),
        ("amqp://h?heartbeat=fast", "heartbeat is 'fast'"),
        ("amqp://h?connect_timeout=0", "above 0"),
        ("amqp://h?queue_type=stream", "classic or quorum"),
        ("amqp://h?max_priority=0", "1 to 255"),
        ("amqp://h?max_priority=9&queue_type=quorum", "quorum queues have no"),
        ("amqp://h?ssl_ca_certs=/x", "amqps://"),
        ("amqps://h?ssl_cert_reqs=maybe", "required, optional or none"),
        ("amqp://h?login_method=KERBEROS", "PLAIN or EXTERNAL"),
        ("amqp://h?celery_delay=maybe", "yes or no"),
        ("amqp://h:port", "cannot be read"),
        ("amqp://u:p#w@h", "%23"),
        ("amqp://one;amqps://two", "same scheme"),
    ],
)
def test_a_mistake_says_what_to_do(url: str, saying: str) -> None:
    with pytest.raises(ConfigError, match=saying.replace("?", r"\?")):
        parse(url)


def test_no_password_is_shown() -> None:
    address = parse("amqp://user:s3cret@host/v?heartbeat=1")
    assert "s3cret" not in repr(address)
    assert "s3cret" not in address.shown
