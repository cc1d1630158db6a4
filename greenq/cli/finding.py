"""What one check of `greenq doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fail", "ok", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Parameters:
        level: whether it needs attention.
        subject: one word for what was looked at.
        text: what was found.
        advice: what to do about it; not empty unless all is well.
    """

    level: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", subject, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """It works, but will hurt."""
    return Finding("warn", subject, text, advice)


def fail(subject: str, text: str, advice: str) -> Finding:
    """It does not work."""
    return Finding("fail", subject, text, advice)
