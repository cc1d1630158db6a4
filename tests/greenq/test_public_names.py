"""What ``from greenq import …`` gives, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import greenq


def test_every_public_name_is_there_and_is_typed() -> None:
    stub = ast.parse(Path(greenq.__file__).with_suffix(".pyi").read_text())
    typed = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: f"greenq.{home}" for name, home in greenq._HOMES.items()}  # type: ignore[attr-defined]
    for name in typed:
        if name != "Worker":
            assert getattr(greenq, name).__name__ == name
        assert name in dir(greenq)


def test_the_version_is_the_packages() -> None:
    assert greenq.__version__[0].isdigit()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="GreenQueue"):
        _ = greenq.GreenQueue  # type: ignore[attr-defined]


def test_importing_greenq_imports_nothing_that_patching_must_come_before() -> None:
    code = (
        "import sys; before = set(sys.modules); import greenq; new = set(sys.modules) - before; "
        "print(*sorted(n for n in new if n.split('.')[0] not in ('greenq', '__future__')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"socket", "threading", "ssl", "queue", "gevent", "eventlet", "kombu", "logging"} & set(
        done.stdout.split()
    )
