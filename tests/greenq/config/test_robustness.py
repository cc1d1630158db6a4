"""Whatever stands in the file, the outcome is a configuration or a ConfigError, and no secret is shown."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from greenq.config import Configuration, load, mask
from greenq.errors import ConfigError

PIECES = (
    "worker", "tasks", "routes", "queues", "accept", "broker", "results", "log", "app", "pool", "match",
    "priority", "lease", "concurrency", ":", ": ", "\n", "\n  ", "\n - ", "- ", "[", "]", "{", "}", ", ",
    "&a ", "*a", "<<", "!!x ", "'", '"', "|\n", ">", "#", "? ", "---\n", "...", "%YAML 9.9\n", "\t", "null",
    "~", "true", "5", "-1", "1e999", ".nan", "30s", "4K", "${X}", "${X:-", "$$", "\\", "\\x", "\\U00110000",
    "\u2028", "x", "redis://:hunter2@h", "é",
)  # fmt: skip


def outcome(data: bytes) -> Configuration | str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "greenq.yaml")
        file.write_bytes(data)
        try:
            return load(file, environ={"X": "redis://:hunter2@host"}, names={"pool": ["solo", "gevent"]})
        except ConfigError as error:
            return str(error)


def is_told_well(found: Configuration | str) -> None:
    if isinstance(found, Configuration):
        assert found.describe()
    else:
        assert all("greenq.yaml" in line or line.startswith("and ") for line in found.split("\n"))
    assert "hunter2" not in str(found if isinstance(found, str) else found.describe())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
@example(["app", ": ", '"', "\\U00110000", '"'])
@example(["%YAML 9.9\n", "---\n", "app", ": ", "x"])
def test_no_text_breaks_the_loader(pieces: list[str]) -> None:
    is_told_well(outcome("".join(pieces).encode("utf-8")))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_no_bytes_break_the_loader(data: bytes) -> None:
    is_told_well(outcome(data))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["redis", "amqp", "x+y"]),
    st.text(st.characters(exclude_characters=":/@", codec="utf-8"), max_size=5),
    st.text(st.characters(codec="utf-8"), max_size=10),
)
def test_no_password_before_the_host_survives_the_mask(scheme: str, user: str, password: str) -> None:
    shown = mask(f"{scheme}://{user}:#{password}hunter2@host:6379/0")
    assert "hunter2" not in shown
    assert shown.endswith("@host:6379/0")
