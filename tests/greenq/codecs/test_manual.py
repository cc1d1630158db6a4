"""The example of docs/codecs.md does what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from greenq.codecs.lzma import MEMORY
from greenq.codecs.nesting import CONTAINER, MAX_DEPTH
from greenq.codecs.table import COMPRESSIONS, SERIALIZERS
from greenq.codecs.yaml import MAX_DIGITS, MAX_LEVELS, NODE
from greenq.codecs.zstd import WINDOW

PAGE = (Path(__file__).parents[3] / "docs" / "codecs.md").read_text(encoding="utf-8")


def test_the_example_of_the_manual_runs(tmp_path: Path) -> None:
    for name, text in re.findall(r"^```\w+\n# (\S+\.(?:py|yaml))\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "try_codecs.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "there and back: 2030-01-02 03:04:05+00:00\n"


def test_the_manual_names_every_codec_with_its_type() -> None:
    for name, row in [*SERIALIZERS.items(), *COMPRESSIONS.items()]:
        assert re.search(
            rf"^\|[^|]*`{name}`[^|]*\| `{re.escape(row.content_type)}` \|", PAGE, re.MULTILINE
        ), name


def test_the_manual_states_the_bounds() -> None:
    words = " ".join(PAGE.split())
    assert f"At most {MAX_DEPTH} levels of lists and dicts ({MAX_LEVELS} in yaml)" in words
    assert f"counts as {CONTAINER} bytes of `max_body`, each value of a yaml body as {NODE}" in words
    assert f"more than {MAX_DIGITS:,} digits" in words
    assert f"at most {MEMORY >> 20} MiB for lzma, {WINDOW >> 20} MiB for zstd" in words
