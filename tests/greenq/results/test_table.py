"""Result stores are found by the scheme of their address."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from greenq import results
from greenq.config.schema import ResultSettings, Settings
from greenq.errors import ConfigError
from greenq.results.memory import MemoryStore
from greenq.results.sqlite import SqliteStore
from greenq.testing.payloads import decode, encode


def test_the_settings_name_the_store() -> None:
    store = results.open(Settings(), encode, decode)
    assert isinstance(store, SqliteStore)
    store.close()
    assert results.open(Settings(results=ResultSettings(url=None)), encode, decode) is None


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("memori://x", "did you mean memory://?"),
        ("ftp://x", "there is sqlite://, memory://"),
        ("results.db", "begins with a scheme"),
        ("sqlite:///a.db?sync=full", "unknown option 'sync'"),
    ],
)
def test_a_mistake_in_the_address_says_what_to_do(url: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        results.connect(url, encode, decode)
    assert advice in str(caught.value)


def test_a_third_party_adds_its_own_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "greenq.results.memory:MemoryStore", "greenq.results")
    monkeypatch.setattr(
        "greenq.schemes.entry_points", lambda group: [point] if group == "greenq.results" else []
    )
    with results.connect("mine://place", encode, decode) as store:
        assert isinstance(store, MemoryStore)
