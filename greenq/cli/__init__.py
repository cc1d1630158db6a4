"""The command line: `greenq.cli:main` is the console script.

Importing this package imports no click and no command; each command is imported when it is called.
"""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters:
        arguments: what follows the program's name; None takes the process's own.

    Raises:
        SystemExit: always; the codes are in `greenq.cli.ending`.
    """
    try:
        from greenq.cli.ending import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    raise SystemExit(run(arguments))
