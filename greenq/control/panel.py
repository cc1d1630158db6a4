"""The commands that workers obey: a table, and the decorators that put more into it.

    >>> from greenq.control.panel import inspect_command
    >>> @inspect_command(args=[("name", str)])
    ... def greet(state, name="you"):
    ...     "Say hello."
    ...     return {"ok": f"hello {name} from {state.hostname}"}
    >>> PANEL.pop("greet").signature
    '[name]'

Source: celery/worker/control.py (``Panel``): what a command is described by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, Unpack

__all__ = ["PANEL", "Command", "control_command", "inspect_command"]

Run = TypeVar("Run", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Parameters:
        run: called with the worker's `ControlState` and the request's arguments by name; returns the answer.
        kind: ``"inspect"`` only looks, ``"control"`` changes something.
        args: the arguments that the command line takes in order, each with what reads it.
        variadic: the argument that takes all further ones of the command line as a list.
        signature: the arguments for people.
        timeout: seconds that the command line waits for answers.
        visible: the command line lists it.
    """

    name: str
    run: Callable[..., Any]
    kind: Literal["inspect", "control"]
    help: str
    args: Sequence[tuple[str, Callable[[str], Any]]] = ()
    variadic: str | None = None
    signature: str = ""
    timeout: float = 1.0
    visible: bool = True


PANEL: dict[str, Command] = {}
"""Every command by its name, and by its old one where it has one."""


class Described(TypedDict, total=False):
    """What is said of a command beside its name; see `Command`.

    Parameters:
        alias: a second name.
        signature: by default the names of `args`.
        help: a sentence for people; by default the first line of its docstring.
        default_timeout: `Command.timeout`.
    """

    alias: str | None
    args: Sequence[tuple[str, Callable[[str], Any]]]
    variadic: str | None
    signature: str | None
    help: str | None
    default_timeout: float
    visible: bool


def inspect_command(name: str | None = None, **described: Unpack[Described]) -> Callable[[Run], Run]:
    """Make a function a command that only looks; by default it has the function's name."""
    return _registering("inspect", name, described)


def control_command(name: str | None = None, **described: Unpack[Described]) -> Callable[[Run], Run]:
    """Make a function a command that changes something; by default it has the function's name."""
    return _registering("control", name, described)


def _registering(
    kind: Literal["inspect", "control"], name: str | None, described: Described
) -> Callable[[Run], Run]:
    if unknown := described.keys() - Described.__annotations__:
        known = ", ".join(Described.__annotations__)
        raise TypeError(f"a command is not described by {', '.join(sorted(unknown))}, but by {known}")

    def register(run: Run) -> Run:
        chosen = name or run.__name__
        args = tuple(described.get("args", ()))
        shown = described.get("signature")
        made = Command(
            chosen, run, kind,
            help=described.get("help") or (run.__doc__ or "").strip().partition("\n")[0],
            args=args,
            variadic=described.get("variadic"),
            signature=" ".join(f"[{arg}]" for arg, _ in args) if shown is None else shown,
            timeout=described.get("default_timeout", 1.0),
            visible=described.get("visible", True),
        )  # fmt: skip
        PANEL[chosen] = made
        if alias := described.get("alias"):
            PANEL[alias] = made
        return run

    return register
