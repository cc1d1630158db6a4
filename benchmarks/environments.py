"""A virtual environment for each peer, made when it is first needed, kept under ``benchmarks/.envs``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.place import Failed

__all__ = ["python_of", "versions"]

HOME = Path(__file__).parent / ".envs"
INSTALLING = 600.0
"""Seconds that pip may take."""


def python_of(peer: Peer) -> Path:
    """Give the interpreter of a peer's environment; installs it if need be.

    Raises:
        Failed: pip could not install it.
    """
    if not peer.requirements:
        return Path(sys.executable)
    wanted = "\n".join((sys.version, *peer.requirements))
    home = HOME / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    python = home / "bin" / "python"
    done = home / "installed.txt"
    if not done.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "--retries", "5"]
        _run([*pip, "install", *peer.requirements])
        done.write_text(wanted)
    return python


def versions(python: Path) -> dict[str, str]:
    """Name what is installed in an environment, with versions."""
    listed = _run([str(python), "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"])
    return {package["name"]: package["version"] for package in json.loads(listed)}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLING)
    if done.returncode:
        raise Failed(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
