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
from typing import Any, Literal, TypeVar

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


def inspect_command(
    name: str | None = None,
    *,
    alias: str | None = None,
    args: Sequence[tuple[str, Callable[[str], Any]]] = (),
    variadic: str | None = None,
    signature: str | None = None,
    help: str | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
) -> Callable[[Run], Run]:
    """Make a function a command that only looks; see `Command`.

    Parameters:
        alias: a second name.
        help: a sentence for people; by default the first line of its docstring.
    """
    return _registering("inspect", name, alias, args, variadic, signature, help, default_timeout, visible)


def control_command(
    name: str | None = None,
    *,
    alias: str | None = None,
    args: Sequence[tuple[str, Callable[[str], Any]]] = (),
    variadic: str | None = None,
    signature: str | None = None,
    help: str | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
) -> Callable[[Run], Run]:
    """Make a function a command that changes something; see `inspect_command`."""
    return _registering("control", name, alias, args, variadic, signature, help, default_timeout, visible)


def _registering(
    kind: Literal["inspect", "control"],
    name: str | None,
    alias: str | None,
    args: Sequence[tuple[str, Callable[[str], Any]]],
    variadic: str | None,
    signature: str | None,
    help: str | None,
    timeout: float,
    visible: bool,
) -> Callable[[Run], Run]:
    def register(run: Run) -> Run:
        chosen = name or run.__name__
        about = help or (run.__doc__ or "").strip().partition("\n")[0]
        shown = signature if signature is not None else " ".join(f"[{arg}]" for arg, _ in args)
        made = Command(chosen, run, kind, about, tuple(args), variadic, shown, timeout, visible)
        PANEL[chosen] = made
        if alias:
            PANEL[alias] = made
        return run

    return register
