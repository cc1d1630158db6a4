"""Brokers are found by the scheme of their address."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from greenq import brokers
from greenq.brokers import table
from greenq.brokers.memory import MemoryBroker
from greenq.brokers.sqlite import SqliteBroker
from greenq.config.schema import BrokerSettings, Settings
from greenq.errors import ConfigError


def test_the_settings_name_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "not-made-yet.db"
    with brokers.open(Settings(broker=BrokerSettings(url=f"sqlite:///{path}"))) as broker:
        assert isinstance(broker, SqliteBroker)
        assert not path.exists(), "nothing is opened before the first call"
    with brokers.open(Settings(broker=BrokerSettings(url="MEMORY://table"))) as broker:
        assert isinstance(broker, MemoryBroker)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sqllite:///greenq.db", "did you mean sqlite://?"),
        ("ftp://:secret@localhost/0", "there is sqlite://, memory://"),
        ("greenq.db", "begins with a scheme: sqlite://, memory://"),
        ("", "begins with a scheme"),
        ("memory://name?size=3", "without path or options"),
        ("memory://name/path", "without path or options"),
    ],
)
def test_a_mistake_in_the_address_says_what_to_do(url: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        brokers.connect(url)
    assert advice in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_third_party_adds_its_own_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "greenq.brokers.memory:MemoryBroker", "greenq.brokers")
    monkeypatch.setattr(
        "greenq.schemes.entry_points", lambda group: [point] if group == "greenq.brokers" else []
    )
    assert brokers.schemes() == [*table.BUILTIN, *(f"{family}+*" for family in table.FAMILIES), "mine"]
    with brokers.connect("mine://place") as broker:
        assert isinstance(broker, MemoryBroker)


def test_a_third_partys_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "no_such_package.broker:Broker", "greenq.brokers")
    monkeypatch.setattr("greenq.schemes.entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match="pip install no_such_package"):
        brokers.connect("mine://place")


def test_choosing_one_imports_no_other() -> None:
    script = (
        "import sys; from greenq.brokers import connect; connect('memory://x')\n"
        "print('greenq.brokers.sqlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_a_third_party_can_run_the_suite_as_the_manual_shows(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from greenq.brokers.memory import MemoryBroker as MyBroker\n")
    (tmp_path / "test_mine.py").write_text(
        "import uuid\n"
        "from greenq.testing.brokers import BrokerConformance\n\n"
        "class TestMyBroker(BrokerConformance):\n"
        '    opener = "mine:MyBroker"\n\n'
        "    def address(self):\n"
        '        return f"memory://{uuid.uuid4()}"\n'
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "settled or gevent_hub or closed",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "6 passed" in done.stdout, done.stdout
