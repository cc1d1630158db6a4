"""`greenq completion`: print the script that makes a shell complete greenq."""

from __future__ import annotations

import click

from greenq.cli.ending import COMPLETION

__all__ = ["completion"]


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash  echo 'eval "$(greenq completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(greenq completion zsh)"' >> ~/.zshrc
    fish  greenq completion fish > ~/.config/fish/completions/greenq.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click completes these three shells"
    click.echo(kind(ctx.find_root().command, {}, "greenq", COMPLETION).source())
