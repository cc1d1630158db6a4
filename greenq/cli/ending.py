"""How a command ends: its exit code, and one line about what went wrong."""

from __future__ import annotations

import errno
import io
import os
import sys

import click

from greenq.errors import ConfigError, GreenqError

__all__ = ["BROKEN_PIPE", "BUG", "FAILED", "INTERRUPTED", "MISTAKE", "NOT_YET", "run"]

FAILED = 1
"""What was asked for was done and the answer is bad: the task failed, a check of doctor did."""
MISTAKE = 2
"""The command, the configuration or what they name must be changed; one line says what."""
NOT_YET = 3
"""The result is not there, or did not arrive in time."""
BUG = 70
"""greenq itself failed; a traceback is printed."""
INTERRUPTED = 130
BROKEN_PIPE = 141

COMPLETION = "_GREENQ_COMPLETE"
"""The variable through which the scripts of `greenq completion` ask."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code.

    Parameters:
        arguments: what follows the program's name; None takes the process's own.
    """
    _prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    place = _command_of(words)
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            return _complain(place, f"{word!r} is no text: write it in UTF-8")
    try:
        code = _invoke(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            click.echo(err=True)  # the terminal shows ^C where the cursor is
        return INTERRUPTED
    except click.UsageError as mistake:
        place = mistake.ctx.command_path if mistake.ctx else place
        return _complain(place, _usage_line(mistake, f"{place} --help"))
    except click.ClickException as mistake:
        return _complain(place, mistake.format_message())
    except ConfigError as mistake:
        return _complain(place, str(mistake))
    except GreenqError as mistake:
        return _complain(place, " ".join(str(mistake).split()))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF) or error.filename:
            return _confess()
        _drop_output()
        return _complain(
            place, f"the output cannot be written ({os.strerror(error.errno)}): send it elsewhere"
        )
    except Exception:
        return _confess()


def _prepare_streams() -> None:
    """Where one was closed nothing is shown; a character that one can't show is written out."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open to the end of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Nobody takes it: without this the interpreter complains again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _invoke(arguments: list[str]) -> int:
    """Run the command as click's own `main` does, but leave every error to `run`."""
    from greenq.cli.root import root

    if instruction := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "greenq", COMPLETION, instruction)
    try:
        with root.make_context("greenq", arguments, color=None if _coloured() else False) as ctx:
            outcome = root.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return outcome if isinstance(outcome, int) else 0


def _coloured() -> bool:
    """Whether the environment allows colours (no-color.org); click asks the terminal itself."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _command_of(arguments: list[str]) -> str:
    """The command that was called, for messages; mistakes deep inside it don't know."""
    from greenq.cli.root import COMMANDS

    first = next((word for word in arguments if not word.startswith("-")), None)
    return f"greenq {first}" if first in COMMANDS else "greenq"


def _complain(place: str, text: str) -> int:
    from greenq.worker.masking import mask_text

    click.secho(f"{place}: ", fg="red", bold=True, err=True, nl=False, color=None if _coloured() else False)
    several = text.splitlines()
    if len(several) == 1:
        click.echo(mask_text(text), err=True)
    else:
        click.echo(f"{len(several)} mistakes", err=True)
        for line in several:
            click.echo(f"  {mask_text(line)}", err=True)
    return MISTAKE


def _usage_line(mistake: click.UsageError, manual: str) -> str:
    """Say a mistake of use in one line, with what to do.

    Parameters:
        manual: the command that explains the one that was called.
    """
    if isinstance(mistake, click.NoSuchOption):
        near = sorted(mistake.possibilities or [])
        hint = f"did you mean {' or '.join(near)}?" if near else f"{manual} lists the options"
        if not near and mistake.ctx and mistake.ctx.parent is None:
            # Celery's command takes its application before the command's name.
            hint = "options follow the command's name, as in greenq worker -A shop.tasks"
        return f"there is no option {mistake.option_name}: {hint}"
    if mistake.ctx and isinstance(mistake.ctx.command, click.Group):
        known = mistake.ctx.command.list_commands(mistake.ctx)
        if mistake.message.startswith("No such command"):
            return _no_command(mistake.message.split("'")[1], known)
        if mistake.message.startswith(("Missing command", "Usage:")):
            return f"say what: {', '.join(known)} ({manual} explains)"
    if type(mistake) is click.BadParameter and mistake.param and not mistake.param_hint:
        is_argument = isinstance(mistake.param, click.Argument)
        name = mistake.param.human_readable_name if is_argument else max(mistake.param.opts, key=len)
        return f"{name}: {_wrong_value(mistake.message)}"
    line = " ".join(mistake.format_message().split())
    if type(mistake) is click.UsageError and not line.startswith("Got "):
        return line
    return f"{line[:1].lower()}{line[1:].rstrip('.')} ({manual} explains)"


def _wrong_value(message: str) -> str:
    """click's words for a wrong value, in plain ones where they are a programmer's."""
    message = message.rstrip(".").replace("is not a valid integer range", "is not a whole number")
    return message.replace("in the range 0<=x<=9", "from 0 to 9").replace("in the range x>=1", "1 or more")


def _no_command(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"there is no command {name}: {hint}"


def _confess() -> int:
    import traceback

    traceback.print_exc()
    click.echo(
        "greenq: this is a bug in greenq, not your mistake: please report it with the lines above", err=True
    )
    return BUG
