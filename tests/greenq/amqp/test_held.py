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


def test_an_end_is_recognised_once_unless_its_acknowledgement_is_lost_too() -> None:
    ledger, held = lost()
    ledger.lose(held, True)
    assert ledger.known(2, 1, KEY) == "ended"
    token = ledger.hold(2, 1, "q", KEY)
    ledger.begin(3)
    assert ledger.claim([token], [True], alive=True) == [None]
    assert ledger.known(3, 1, KEY) == "ended"
    assert ledger.known(3, 2, KEY) is None


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


class TestClaiming:
    def test_what_is_held_is_claimed_once(self) -> None:
        ledger = Ledger()
        ledger.begin(1)
        token = ledger.hold(1, 1, "q", KEY)
        first, second = ledger.claim([token, token], [True, True], alive=True)
        assert (first is not None, second) == (True, None)

    def test_without_a_connection_all_are_lost_and_those_that_ended_are_remembered(self) -> None:
        ledger = Ledger()
        ledger.begin(1)
        tokens = [ledger.hold(1, tag, "q", ("q", str(tag), 0)) for tag in (1, 2)]
        ledger.begin(2)
        assert ledger.claim(tokens, [True, False], alive=False) == [None, None]
        assert ledger.known(2, 1, ("q", "1", 0)) == "ended"
        assert ledger.known(2, 2, ("q", "2", 0)) is None

    def test_what_returned_under_another_tag_is_claimed(self) -> None:
        ledger = Ledger()
        ledger.begin(1)
        token = ledger.hold(1, 1, "q", KEY)
        ledger.begin(2)
        assert ledger.known(2, 9, KEY) == "runs"
        (held,) = ledger.claim([token], [True], alive=True)
        assert held is not None
        assert (held.session, held.tag) == (2, 9)

    def test_what_is_no_token_is_nobodys(self) -> None:
        assert Ledger().claim([[], None, "strange"], [True, True, True], alive=True) == [None, None, None]
