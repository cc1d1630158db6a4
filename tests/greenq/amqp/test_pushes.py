"""When what was pushed counts as neglected: not by how often somebody looks."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from greenq.amqp import pushing
from greenq.amqp.held import Ledger
from greenq.amqp.pushing import Found, Pushes


def test_what_lies_there_is_neglected_after_half_a_second_and_in_its_session_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr(pushing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    pushes = Pushes(Ledger(), lambda: None, lambda: True)

    def look(at: float) -> bool:
        clock.now = at
        return pushes.neglected()

    pushes.brought["q"] = deque([Found(1, 7, "q", False, b"", b"")])
    assert not look(10.0)
    assert not look(10.1)
    assert look(10.6)
    pushes.begin(2)
    pushes.brought["q"] = deque([Found(2, 7, "q", False, b"", b"")])
    assert not look(11.2)
    assert look(11.8)
