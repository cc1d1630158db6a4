"""Addresses of Redis servers."""

from __future__ import annotations

import pytest

from greenq.errors import ConfigError
from greenq.redis.address import parse


def test_a_plain_address() -> None:
    address = parse("redis://u%40x:p%2Fw@example.org:7000/3")
    assert (address.hosts, address.db) == ((("example.org", 7000),), 3)
    assert (address.user, address.password) == ("u@x", "p/w")
    assert address.tls is None


@pytest.mark.parametrize("url", ["redis://", "redis:///", "redis://localhost", "valkey://localhost:6379/0"])
def test_what_is_left_out_has_its_default(url: str) -> None:
    assert (parse(url).hosts, parse(url).db) == ((("localhost", 6379),), 0)


def test_a_password_is_never_shown() -> None:
    address = parse("rediss://:hunter2@h/0?ssl_cert_reqs=none")
    assert "hunter2" not in repr(address)
    assert address.tls is not None
    assert address.tls.verify == "none"


@pytest.mark.parametrize("verify", ["CERT_REQUIRED", "required", "Optional", "CERT_NONE"])
def test_tls_as_celery_writes_it(verify: str) -> None:
    address = parse(
        f"rediss://h:1/0?ssl_cert_reqs={verify}&ssl_ca_certs=%2Fca.pem&ssl_certfile=c&ssl_keyfile=k"
    )
    assert address.tls is not None
    assert (address.tls.ca, address.tls.certificate, address.tls.key) == ("/ca.pem", "c", "k")


@pytest.mark.parametrize(
    "url",
    ["redis+socket:///run/redis.sock?virtual_host=2", "unix:///run/redis.sock?db=2"],
)
def test_a_unix_socket(url: str) -> None:
    address = parse(url)
    assert (address.path, address.db, address.hosts) == ("/run/redis.sock", 2, ())


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:pw@one:1;sentinel://two:2/4?master_name=mymaster",
        "sentinel://:pw@one:1,two:2/4?master_name=mymaster",
    ],
)
def test_several_sentinels(url: str) -> None:
    address = parse(url)
    assert address.hosts == (("one", 1), ("two", 2))
    assert (address.master, address.db, address.password) == ("mymaster", 4, "pw")


def test_what_a_fleet_agrees_on() -> None:
    address = parse(
        "redis://h/0?global_keyprefix=p-&visibility_timeout=60&priority_steps=0,5&queue_weights=a:3,b:1"
    )
    assert (address.prefix, address.visibility_timeout, address.steps) == ("p-", 60.0, (0, 5))
    assert (address.order, address.weights) == ("weighted", (("a", 3.0), ("b", 1.0)))


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://h/zero", "must be a number"),
        ("redis://h:port/0", "cannot be read"),
        ("redis://h/0#x", "write %23"),
        ("redis://h/0?visibilty_timeout=1", "did you mean visibility_timeout?"),
        ("redis://h/0?visibility_timeout=soon", "give seconds above 0"),
        ("redis://h/0?ssl_cert_reqs=none", "write rediss://"),
        ("rediss://h/0?ssl_cert_reqs=maybe", "choose required, optional or none"),
        ("redis://h/0?priority_steps=3,6", "begin with 0"),
        ("redis://h/0?priority_steps=a", "give numbers from 0 to 9"),
        ("redis://h/0?queue_order=random", "choose strict, round_robin, weighted"),
        ("redis://h/0?queue_order=weighted", "add &queue_weights="),
        ("redis://h/0?queue_weights=mail", "write queue:weight"),
        ("redis://a/0;redis://b/0", "name one server"),
        ("sentinel://h:1/0", "?master_name=NAME"),
        ("unix://relative.sock", "absolute path"),
    ],
)
def test_a_mistake_says_what_to_do(url: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert advice in str(caught.value)
