"""No secret of an address is ever printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq.config import load, mask
from greenq.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("amqp://guest:hunter2@host//", "amqp://guest:***@host//"),
        ("amqp://hunter2@host", "amqp://***@host"),
        ("redis://:hun@ter/2#?@host", "redis://:***@host"),
        ("redis://:my hunter2@host", "redis://:***@host"),
        ("redis://us er:hunter2@host", "redis://***@host"),
        ("redis://user:hunter2", "redis://user:***"),
        ("redis://:hunter2", "redis://:***"),
        ("redis:/:hunter2@host", "***@host"),
        ("redis:hunter2@host", "***@host"),
        (":hunter2@host:6379", "***@host:6379"),
        ("sentinel://:hunter2@a:1;sentinel://:hunter2@b:2", "sentinel://:***@a:1;sentinel://:***@b:2"),
        ("amqp://u:hunter2@a,amqp://u:hunter2@b", "amqp://u:***@a,amqp://u:***@b"),
        ("redis://host?password=hunter2&db=1", "redis://host?password=***&db=1"),
        ("redis://host?db=1&PASSWORD=hunter2", "redis://host?db=1&PASSWORD=***"),
        ("sqs://host?secret_access_key=hunter2", "sqs://host?secret_access_key=***"),
        ("http://host?auth_token=hun@ter2", "http://host?auth_token=***"),
        ("redis://[::1]:hunter2@x", "redis://***@x"),
    ],
)
def test_the_secret_is_hidden(address: str, shown: str) -> None:
    assert mask(address) == shown
    assert "hunter2" not in mask(address)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///greenq.db",
        "sqlite:////home/me@work/queue.db",
        "redis://host:6379/0",
        "redis://a:1,b:2/0",
        "redis://[::1]:6379/0",
        "redis://h:6379?db=1&ssl=true",
        "memory://",
        "greenq@%h",
        "shop.tasks:app",
        "",
    ],
)
def test_what_has_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_what_is_too_long_to_look_through_is_hidden() -> None:
    assert mask("redis://" + "?" * 100_000) == "***"


@pytest.mark.parametrize(
    "text",
    [
        "broker: {url: 'redis:/:hunter2@host'}\n",
        "broker:\n  redis://:hunter2@host: 1\n",
        "broker: {url: ' redis://:hunter2@host'}\n",
        "redis://:hunter2@host: x\n",
        "worker: {pool: 'redis://:hunter2@host'}\n",
        "worker: {concurrency: 'redis://:hunter2@host'}\n",
        "worker: 'redis://:hunter2@host'\n",
        "worker: {queues: 'redis://:hunter2@host'}\n",
        "log: {level: 'redis://:hunter2@host'}\n",
        "queues: {'redis://:hunter2@host': 5}\n",
        "worker: {lease: '${URL}'}\n",
        "worker: {lease: '${DB_PASSWORD}'}\n",
        "worker: {lease: '${NONE:-redis://:hunter2@host}'}\n",
        "broker: redis://:hunter2@host\nbroker: redis://:hunter2@host\n",
        "broker: {url: *hunter2}\n",
        "broker: {url: !hunter2 x}\n",
        'broker: {url: "\\hunter2"}\n',
        "broker: {url: @hunter2}\n",
        "broker: {url: 'hunter2\n",
        "app: hunter2: x\n",
        "routes: [{match: 'redis://:hunter2@host', queue: a}, {match: 'redis://:hunter2@host', queue: a}]\n",
    ],
)
def test_no_error_message_shows_a_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "greenq.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(
            file, environ={"URL": "redis://:hunter2@host", "DB_PASSWORD": "hunter2"}, names={"pool": ["solo"]}
        )
    assert "hunter2" not in str(caught.value)


def test_neither_the_table_nor_a_repr_shows_a_secret() -> None:
    resolved = load(
        environ={"GREENQ_BROKER_URL": "redis://:hunter2@host"},
        code={"results": "redis://u:hunter2@host", "queues": {"redis://:hunter2@host": {"priority": 1}}},
        discover=False,
    )
    assert "hunter2" not in str(resolved.describe())
    assert "hunter2" not in repr(resolved.settings.broker) + repr(resolved.settings.results)
