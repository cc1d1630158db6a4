"""Spoiled messages under a worker at work: each is found at its end, and the worker is still the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.accounts import put_into
from tests.fuzz.queues import QUEUES

MESSAGES = 400
SEED = 2026


@pytest.mark.parametrize("broker", QUEUES)
def test_each_message_in_a_queue_ends_once_whatever_it_is(broker: str, tmp_path: Path) -> None:
    assert "dead" in put_into(broker, MESSAGES, SEED, tmp_path)
