"""Completion in the shells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.greenq.cli.command import environment, greenq

BASH = r"""
set -u
eval "$(greenq completion bash)"
complete -p greenq >/dev/null || exit 9
COMP_WORDS=("$@")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
function_name=$(complete -p greenq | sed 's/.*-F \([^ ]*\).*/\1/')
"$function_name" greenq "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `greenq` is this tree's."""
    script = tmp_path / "bin" / "greenq"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -c "from greenq.cli import main; main()" "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:/usr/local/bin:/usr/bin:/bin"


def complete(path: str, cwd: Path, *words: str) -> list[str]:
    """What bash offers for the last word, after its completion script was really sourced."""
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", "greenq", *words],
        cwd=cwd,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wo"], ["worker"]),
        (["d"], ["dead", "doctor"]),
        (["queues", "p"], ["pause", "purge"]),
        (["worker", "--soft"], ["--soft-time-limit"]),
        (["worker", "--pool", "ge"], ["gevent"]),
        (["worker", "-l", "w"], ["warning"]),
        (["worker", "--logformat", ""], ["text", "json"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes(path: str, tmp_path: Path, words: list[str], offered: list[str]) -> None:
    assert complete(path, tmp_path, *words) == offered


def test_bash_completes_queues_of_the_broker(path: str, tmp_path: Path) -> None:
    for queue in ("mail", "maps", "celery"):
        assert greenq("call", "x", "--queue", queue, cwd=tmp_path).returncode == 0
    assert complete(path, tmp_path, "queues", "purge", "ma") == ["mail", "maps"]
    assert complete(path, tmp_path, "dead", "purge", "--queue", "c") == ["celery"]


def test_a_broken_configuration_completes_nothing_and_says_nothing(path: str, tmp_path: Path) -> None:
    (tmp_path / "greenq.yaml").write_text("brokr: 5")
    assert complete(path, tmp_path, "queues", "purge", "m") == []


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef greenq"), ("fish", "complete ")])
def test_other_shells_get_their_script(tmp_path: Path, shell: str, sign: str) -> None:
    done = greenq("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert sign in done.stdout
    assert "_GREENQ_COMPLETE" in done.stdout
