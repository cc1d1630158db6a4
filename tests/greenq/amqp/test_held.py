"""Whether a redelivery is one of ours is decided together with who ends it."""

from __future__ import annotations

from greenq.amqp.held import Held, Ledger
from greenq.protocol import Key

KEY: Key = ("q", "an id", 0)


def lost() -> tuple[Ledger, Held]:
    """A ledger whose one delivery was lost with its connection, and that delivery, taken out to be ended."""
    ledger = Ledger()
    ledger.begin(1)
    token = ledger.hold(1, 1, "q", KEY)
    ledger.begin(2)
    (held,) = ledger.take([token])
    assert held is not None
    return ledger, held


def test_what_was_given_up_is_not_recognised_when_it_returns() -> None:
    ledger, held = lost()
    assert not ledger.still_held(held, False)
    assert ledger.known(2, 1, KEY) is None


def test_what_has_ended_is_known_to_have_ended_when_it_returns() -> None:
    ledger, held = lost()
    assert not ledger.still_held(held, True)
    assert ledger.known(2, 1, KEY) == "ended"


def test_what_has_returned_is_not_given_up() -> None:
    ledger, held = lost()
    assert ledger.known(2, 7, KEY) == "runs"
    assert ledger.still_held(held, False)
    assert held.tag == 7


def test_giving_one_up_forgets_no_other_of_the_same_task() -> None:
    ledger, held = lost()
    ledger.hold(1, 2, "q", KEY)
    ledger.lose(held, False)
    assert ledger.known(2, 8, KEY) == "runs"
