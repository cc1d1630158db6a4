"""Pages of the manual, run as a reader would: files saved, commands typed, what they print compared.

- A fenced ``python`` or ``yaml`` block whose paragraph above says "save this as `name`" is saved.
- In a ``console`` block each line with ``$ `` is a command and what follows is its output; ``...`` there
  stands for whatever comes.
- A ``greenq worker`` without ``--burst`` runs until the page ends, as it would in another terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Block", "Reader", "blocks"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVE = re.compile(r"save\s+this\s+as\s+`([^`]+)`", re.IGNORECASE)
_COMMAND_TIME = 90


@dataclass(frozen=True)
class Block:
    """A fenced block, and the paragraph above it."""

    language: str
    text: str
    above: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown page."""
    end = 0
    for match in _FENCE.finditer(page):
        above = page[end : match.start()].strip().rpartition("\n\n")[2]
        end = match.end()
        yield Block(match[1], match[2], above)


@dataclass
class Reader:
    """Somebody in an empty directory who does what a page says.

    Parameters:
        directory: where; must be empty.
    """

    directory: Path
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)

    def read(self, page: str) -> None:
        """Do all that a page says, in order."""
        for block in blocks(page):
            name = _SAVE.search(block.above)
            if block.language == "console":
                for command, output in _commands(block.text):
                    self.type(command, output)
            elif block.language in ("python", "yaml") and name:
                (self.directory / name[1]).write_text(block.text)
                self.saved.append(name[1])

    def type(self, command: str, output: str) -> None:
        """Run one command; its output must be as the page has it, and its exit code 0."""
        self.typed.append(command)
        if command.startswith("greenq worker") and "--burst" not in command:
            self._start(command)
            return
        try:
            run = subprocess.run(
                command, shell=True, cwd=self.directory, env=self._environment(), timeout=_COMMAND_TIME,
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"$ {command}\ndid not end{self._logs()}") from error
        assert run.returncode == 0, f"$ {command}\n{run.stdout}{run.stderr}{self._logs()}"
        pattern = "".join(".*" if line == "..." else re.escape(line) + "\n" for line in output.splitlines())
        assert re.fullmatch(pattern, run.stdout, re.DOTALL), f"$ {command}\n{run.stdout}\nand not\n{output}"

    def leave(self) -> None:
        """Press Ctrl-C in the other terminals; each worker must end well."""
        for worker in self.workers:
            worker.send_signal(signal.SIGINT)
        for worker in self.workers:
            try:
                assert worker.wait(60) == 0, self._logs()
            finally:
                worker.kill()

    def _start(self, command: str) -> None:
        with (self.directory / f"worker-{len(self.workers)}.log").open("w") as log:
            self.workers.append(
                subprocess.Popen(
                    shlex.split(command), cwd=self.directory, env=self._environment(),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True,
                )
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENQ_")}
        return kept | {"PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"}

    def _logs(self) -> str:
        return "".join(f"\n{log.name}:\n{log.read_text()}" for log in self.directory.glob("worker-*.log"))


def _commands(text: str) -> Iterator[tuple[str, str]]:
    command, output = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, output
            command, output = line.removeprefix("$ "), ""
        else:
            output += f"{line}\n"
    if command:
        yield command, output
