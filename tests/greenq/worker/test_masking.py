"""Passwords in running text."""

from __future__ import annotations

import pytest

from greenq.worker.masking import mask_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach redis://user:pa55@host:6379/0 now", "cannot reach redis://user:***@host:6379/0 now"),
        ("amqp://guest:p@ss@host// refused", "amqp://guest:***@host// refused"),
        ("'redis://:pa55@host' failed", "'redis://:***@host' failed"),
        ("connect(password='pa55', db=1)", "connect(password='***', db=1)"),
        ("{'api_key': 'pa55', 'x': 1}", "{'api_key': '***', 'x': 1}"),
        ("GET /?access_token=pa55&x=1", "GET /?access_token=***&x=1"),
    ],
)
def test_a_password_in_a_line_is_hidden(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////srv/greenq.db answered",
        "http://host:8080/path?x=1 is dead",
        "unexpected token: x",
        "mail me@example.org: done",
        "",
    ],
)
def test_a_line_without_a_password_stays_as_it_is(text: str) -> None:
    assert mask_text(text) == text
