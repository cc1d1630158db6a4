"""Gets Celery's source distribution, which has the suite, and what the suite needs to run."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import celery  # type: ignore[import-untyped]

__all__ = ["environment", "place", "suite"]

PLUGINS = ("pytest-rerunfailures", "pytest-timeout")
VERSION: str = celery.__version__


def place() -> Path:
    """Where all of it is kept: outside of the repository, so that it is never committed."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(cache) / "greenq-celery-suite"
    found.mkdir(parents=True, exist_ok=True)
    return found


def suite() -> Path:
    """The directory that has the suite as its package ``t``; downloaded when it is first asked for."""
    directory = place() / f"celery-{VERSION}"
    if not (directory / "t" / "integration").is_dir():
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps",
                "--dest", str(place()), f"celery=={VERSION}",
            ],
            check=True,
        )  # fmt: skip
        with tarfile.open(place() / f"celery-{VERSION}.tar.gz") as archive:
            archive.extractall(place(), filter="data")
    return directory


def environment() -> Path:
    """A Python that has all that this one has, and the suite's plugins of pytest."""
    home = place() / "environment"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        ours = home / "lib" / version / "site-packages" / "ours.pth"
        ours.write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PLUGINS], check=True)
        (home / "complete").touch()
    return python
