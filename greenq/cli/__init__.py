"""The command line: `greenq.cli:main` is the console script.

Importing this package imports no click and no command; each command is imported when it is called.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters:
        arguments: what follows the program's name; None takes the process's own.

    Raises:
        SystemExit: always; the codes are in `greenq.cli.ending`.
    """
    if arguments is None and sys.argv[1:2] == ["worker"]:
        # Whoever stops it before its supervisor listens would end it by the signal; so that hears of it.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP))
    try:
        from greenq.cli.ending import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    raise SystemExit(run(arguments))
