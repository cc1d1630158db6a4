"""Replies that nobody asks for take a bounded share of the memory."""

from __future__ import annotations

import math
import threading

import pytest

from greenq.results import replies
from greenq.results.replies import Replies, Reply


def came(body: bytes, terminal: bool = True, until: float = math.inf) -> Reply:
    return Reply(terminal, body, until)


def test_the_oldest_go_when_all_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_BYTES", 100)
    kept = Replies()
    for i in range(10):
        assert kept.add(str(i), came(b"x" * 30))
    assert set(kept.bodies(map(str, range(10)))) == {"7", "8", "9"}


def test_one_that_alone_is_too_large_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_BYTES", 100)
    kept = Replies()
    kept.add("small", came(b"x"))
    kept.add("large", came(b"x" * 1000))
    assert set(kept.bodies(["small", "large"])) == {"large"}


def test_the_oldest_go_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT", 3)
    kept = Replies()
    for i in range(10):
        kept.add(str(i), came(b""))
    assert set(kept.bodies(map(str, range(10)))) == {"7", "8", "9"}


def test_what_was_forgotten_replaced_or_expired_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_BYTES", 100)
    kept = Replies()
    kept.add("stays", came(b"x" * 20))
    for i in range(100):
        kept.add("progress", came(b"x" * 40, terminal=False))
        kept.add(f"forgotten-{i}", came(b"x" * 40))
        kept.forget([f"forgotten-{i}", "unknown"])
        kept.add(f"late-{i}", came(b"x" * 40, until=0.0))
        assert kept.bodies([f"late-{i}"]) == {}
        assert kept.expire() == 1
    assert set(kept.bodies(["stays", "progress"])) == {"stays", "progress"}


def test_an_end_is_not_replaced() -> None:
    kept = Replies()
    assert kept.add("1", came(b"end"))
    assert not kept.add("1", came(b"late progress", terminal=False))
    assert kept.bodies(["1"]) == {"1": b"end"}


def test_any_number_of_threads_use_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_BYTES", 10_000)
    kept = Replies()

    def use(n: int) -> None:
        for i in range(500):
            kept.add(f"{n}-{i}", came(b"x" * 100))
            kept.forget([f"{n}-{i - 3}"])

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [f"{n}-{i}" for n in range(8) for i in range(500)]
    kept.forget(ids)
    for i in range(100):
        kept.add(str(i), came(b"x" * 100))
    assert len(kept.bodies(map(str, range(100)))) == 100, "the room that others took was not given back"
