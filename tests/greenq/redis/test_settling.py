"""Answers to settlements that make no sense: an error whose effect is unknown, never a guess."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from greenq.message import Delivery, Settlement, Verdict
from greenq.redis.address import parse
from greenq.redis.client import Client
from greenq.redis.failures import Failure
from greenq.redis.keys import Keys
from greenq.redis.settling import charge, settle
from greenq.testing.messages import make


class Answering:
    """A client whose server answers every script so."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def script(self, script: Any, arguments: Sequence[Any], deadline: float, again: bool = False) -> Any:
        return self.reply


def deliveries(attempts: int) -> list[Delivery]:
    return [Delivery(make(str(i)), "q", ("process", f"{i}:q"), attempts=attempts) for i in range(2)]


KEYS = Keys(parse("redis://localhost"))
SENSELESS: list[Any] = [None, b"OK", 7, [2], [-1], [b"0"], [None], {0: 1}]


@pytest.mark.parametrize("reply", SENSELESS, ids=repr)
def test_an_acknowledgement_with_a_senseless_answer_failed(reply: Any) -> None:
    client = cast(Client, Answering(reply))
    with pytest.raises(Failure, match="makes no sense") as caught:
        settle(client, KEYS, [Settlement(d, Verdict.ACK) for d in deliveries(0)], time.monotonic() + 1)
    assert caught.value.uncertain


@pytest.mark.parametrize("reply", [*SENSELESS, [1], [1, 1, 1], [1, b"1"]], ids=repr)
def test_a_charge_with_a_senseless_answer_failed(reply: Any) -> None:
    client = cast(Client, Answering(reply))
    with pytest.raises(Failure, match="makes no sense") as caught:
        charge(client, KEYS, deliveries(1), 1, time.monotonic() + 1)
    assert caught.value.uncertain


def test_the_places_that_an_acknowledgement_names_were_lost() -> None:
    client = cast(Client, Answering([1]))
    settlements = [Settlement(d, Verdict.ACK) for d in deliveries(0)]
    assert settle(client, KEYS, settlements, time.monotonic() + 1) == [True, False]
