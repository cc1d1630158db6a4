"""Commands that an application defines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenq.control.panel import PANEL, control_command, inspect_command


@pytest.fixture(autouse=True)
def panel() -> Iterator[None]:
    """What a test defines goes with it."""
    before = dict(PANEL)
    yield
    PANEL.clear()
    PANEL.update(before)


def test_a_command_is_described_by_its_function_where_nothing_else_is_said() -> None:
    @inspect_command(args=[("name", str), ("times", int)])
    def greet(state: object, name: str = "you", times: int = 1) -> None:
        """Say hello.

        More often than once, if need be.
        """

    made = PANEL["greet"]
    assert (made.kind, made.help, made.signature) == ("inspect", "Say hello.", "[name] [times]")
    assert (made.timeout, made.visible, made.variadic) == (1.0, True, None)


def test_what_is_said_of_a_command_counts() -> None:
    @control_command(
        "refill", alias="fill", variadic="cups", signature="[cup ...]", help="Fill cups.",
        default_timeout=3.0, visible=False,
    )  # fmt: skip
    def fill_all(state: object, cups: list[str]) -> None:
        """Not shown."""

    made = PANEL["refill"]
    assert PANEL["fill"] is made
    assert (made.kind, made.help, made.signature) == ("control", "Fill cups.", "[cup ...]")
    assert (made.timeout, made.visible, made.variadic) == (3.0, False, "cups")


def test_what_no_command_is_described_by_is_refused() -> None:
    with pytest.raises(TypeError, match=r"not described by timout, but by alias, args"):
        inspect_command("greet", timout=3)  # type: ignore[call-arg]
