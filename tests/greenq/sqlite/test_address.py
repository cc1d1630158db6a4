"""``sqlite://`` addresses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greenq.errors import ConfigError
from greenq.sqlite.address import Address, anchored, parse


def test_three_slashes_precede_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("sqlite:///greenq.db") == Address(str(tmp_path / "greenq.db"))
    assert parse("sqlite:///sub/greenq.db") == Address(str(tmp_path / "sub/greenq.db"))
    assert parse("sqlite:////var/lib/greenq.db") == Address("/var/lib/greenq.db")


def test_percent_signs_carry_any_character() -> None:
    assert parse("sqlite:////tmp/a%20b%23c%3Fd.db").path == "/tmp/a b#c?d.db"


def test_the_same_file_has_the_same_path_whatever_leads_to_it(tmp_path: Path) -> None:
    os.symlink(tmp_path, tmp_path / "link")
    assert parse(f"sqlite:///{tmp_path}/link/g.db") == parse(f"sqlite:///{tmp_path}/./g.db")


def test_confirmed_means_on_disk_unless_the_address_says_otherwise() -> None:
    assert parse("sqlite:///a.db").full
    assert parse("sqlite:///a.db?synchronous=full").full
    assert not parse("sqlite:///a.db?synchronous=normal").full


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sqlite://greenq.db", "three slashes"),
        ("sqlite://user:secret@host/greenq.db", "three slashes"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///directory/", "end with a file's name"),
        ("sqlite:///a%00b", "end with a file's name"),
        ("sqlite:///a.db#b", "%23"),
        ("sqlite:///a.db?synchronus=full", "did you mean 'synchronous'"),
        ("sqlite:///a.db?cache=1", "there is synchronous"),
        ("sqlite:///a.db?synchronous=off", "choose one of full, normal"),
        ("sqlite:///a.db?synchronous=", "choose one of full, normal"),
        ("sqlite:///a.db?synchronous=full&synchronous=normal", "twice"),
    ],
)
def test_a_mistake_in_an_address_says_what_to_do(url: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert advice in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_anchored_address_names_the_same_file_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "with a # and 😀"
    here.mkdir()
    monkeypatch.chdir(here)
    for url in ("sqlite:///greenq.db", "sqlite:///sub/g%20q.db?synchronous=normal", "sqlite:////var/g.db"):
        before = parse(url)
        fixed = anchored(url, os.getcwd())
        monkeypatch.chdir("/")
        assert parse(fixed) == before
        monkeypatch.chdir(here)
    for url in ("memory://x", "redis://h/0", "sqlite:///:memory:", "sqlite:///", "sqlite://host/x"):
        assert anchored(url, "/somewhere") == url
