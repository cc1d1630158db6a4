"""What YAML text becomes: types, units, variables, anchors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from greenq.config import Configuration, load
from greenq.config.mistakes import Wrong
from greenq.config.units import read_bytes, read_seconds, write_bytes, write_seconds
from greenq.errors import ConfigError


def resolve(folder: Path, text: str, **environ: str) -> Configuration:
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ=environ)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1d", 86400),
        ("1.5h", 5400),
        ("0.1s", 0.1),
        ("7", 7),
    ],
)
def test_a_time_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64KiB", 65536), ("10MiB", 10 * 2**20), ("1GiB", 2**30), ("1MB", 10**6), ("2kB", 2000),
     ("1.5KiB", 1536), ("5B", 5)],
)  # fmt: skip
def test_a_size_is_read_in_its_unit(text: str, size: int) -> None:
    assert read_bytes(text) == size


@pytest.mark.parametrize("text", ["", "s", "1h30m", "5w", "1e3s", "٣s", "1_0s", "5 s", "5S", "0x5s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        read_seconds(text)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("5 s", "write 5s"),
        ("5min", "write 5m"),
        ("2 Hours", "write 2h"),
        ("5S", "write 5s"),
        ("100 msec", "write 100ms"),
    ],
)
def test_a_time_with_another_unit_is_mended(text: str, mend: str) -> None:
    with pytest.raises(Wrong) as caught:
        read_seconds(text)
    assert caught.value.mend == mend


def test_times_and_sizes_are_written_as_people_do_and_read_back() -> None:
    for seconds in (0.01, 0.25, 1, 1.5, 30, 60, 90, 180, 3600, 86400, 0, 100.125):
        assert read_seconds(write_seconds(seconds)) == seconds
    assert [write_seconds(s) for s in (0.25, 30, 300, 86400, 90)] == ["250ms", "30s", "5m", "1d", "90s"]
    for size in (0, 1, 1000, 1024, 65536, 2**30):
        assert read_bytes(write_bytes(size)) == size
    assert [write_bytes(s) for s in (1000, 65536, 2**26)] == ["1000", "64KiB", "64MiB"]


def test_plain_text_means_what_yaml_1_2_says(tmp_path: Path) -> None:
    text = "worker: {node: no, queues: [on, yes, 12:30, 0b1, 1_0]}\n"
    text += "results: {expires: ~}\ntasks: {priority: 0x5}\n"
    settings = resolve(tmp_path, text).settings
    assert settings.worker.node == "no"
    assert settings.worker.queues == ("on", "yes", "12:30", "0b1", "1_0")
    assert settings.results.expires is None
    assert settings.tasks.priority == 5


def test_empty_sections_and_files_change_nothing(tmp_path: Path) -> None:
    default = load(environ={}, discover=False).settings
    for text in (
        "",
        "# only a comment\n",
        "---\n",
        "null\n",
        "broker:\nresults:\nworker:\nqueues:\n",
        "\ufefflog: {}\n",
    ):
        assert resolve(tmp_path, text).settings == default


def test_an_address_may_stand_for_its_section(tmp_path: Path) -> None:
    settings = resolve(tmp_path, "broker: memory://a\nresults: null\n").settings
    assert (settings.broker.url, settings.results.url) == ("memory://a", None)


@pytest.mark.parametrize(
    ("written", "node"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}", "x-one-two"),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "one"),
        ("${NONE:-${A}}", "one"),
        ("${A:-${NONE}}", "one"),
        ("${NONE:-a}b}", "ab}"),
        ("$${A}", "${A}"),
        ("a$$b", "a$b"),
        ("a$b", "a$b"),
        ("${ A }", "one"),
        ("${NUMBER}", "12"),
        ("${TRICKY}", "${A}"),
    ],
)
def test_variables_are_filled_in(tmp_path: Path, written: str, node: str) -> None:
    environ = {"A": "one", "B": "two", "EMPTY": "", "NUMBER": "12", "TRICKY": "${A}"}
    assert resolve(tmp_path, f"worker: {{node: '{written}'}}\n", **environ).settings.worker.node == node


def test_a_variable_is_read_by_the_type_of_its_setting_quoted_or_not(tmp_path: Path) -> None:
    text = (
        'worker: {concurrency: "${N}"}\n'
        "tasks:\n  acks_late: ${FLAG}\n  time_limit: ${T:-null}\n  compress_over: ${S:-8KiB}\n"
        "accept: ${NAMES}\n"
    )
    settings = resolve(tmp_path, text, N="12", FLAG="off", NAMES="json,yaml").settings
    assert (settings.worker.concurrency, settings.tasks.acks_late) == (12, False)
    assert (settings.tasks.time_limit, settings.tasks.compress_over) == (None, 8192)
    assert settings.accept == ("json", "yaml")


def test_anchors_merges_and_room_for_them(tmp_path: Path) -> None:
    text = (
        "x-quick: &quick {publish_timeout: 1s, timeout: 2s}\n"
        "x-slow: &slow {timeout: 9s}\n"
        "broker:\n  <<: [*quick, *slow]\n  publish_timeout: 3s\n"
        "worker: {queues: &names [a, b]}\n"
    )
    resolved = resolve(tmp_path, text)
    assert (resolved.settings.broker.publish_timeout, resolved.settings.broker.timeout) == (3.0, 2.0)
    assert resolved.origin("broker.timeout").endswith("some.yaml:1")


@pytest.mark.parametrize(
    "text",
    [
        "x-a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"x-{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )
        + "worker: {queues: *i}\n",
        "x-a: &a {app: x}\n"
        + "".join(
            f"x-{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )
        + "<<: *i\n",
        "worker: {queues: " + "[" * 5000 + "]" * 5000 + "}\n",
        "app: ${A" + ":-${A" * 20000 + "\n",
        "a" * 300_000,
    ],
    ids=["aliases of aliases", "merges of merges", "nested lists", "nested defaults", "a large file"],
)
def test_a_bomb_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, text)
    assert len(str(caught.value)) < 300


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complaint(path: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            load(path, environ={})
        return str(caught.value)

    monkeypatch.chdir(tmp_path)
    Path("latin.yaml").write_bytes("app: a\nlog: {level: ä}\n".encode("latin-1"))
    Path("wide.yaml").write_bytes("app: a\n".encode("utf-16"))
    assert complaint("none.yaml") == (
        "none.yaml: there is no such file; write one with: greenq config init none.yaml"
    )
    assert complaint(".") == ".: this is a directory; name the file in it: ./greenq.yaml"
    assert complaint("latin.yaml") == "latin.yaml:2: this is not UTF-8; save the file as UTF-8"
    assert complaint("wide.yaml") == "wide.yaml:1: this is not UTF-8; save the file as UTF-8"
    assert complaint("latin.yaml/x") == "latin.yaml/x: the file cannot be read: Not a directory"
    assert complaint("a\0b").endswith("the file cannot be read: embedded null byte")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    # Root may read everything, so a mode of 000 would prove nothing there.
    monkeypatch.setattr("builtins.open", refuse)
    assert complaint("latin.yaml") == "latin.yaml: this user may not read the file; change its owner or mode"


def test_settings_can_be_copied_and_sent_to_other_processes(tmp_path: Path) -> None:
    resolved = resolve(tmp_path, "queues: {a: {priority: 1}}\nroutes: [{match: a, queue: a}]\n")
    assert pickle.loads(pickle.dumps(resolved)) == resolved
    assert copy.deepcopy(resolved.settings) == resolved.settings
