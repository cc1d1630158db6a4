"""What is installed: metadata, extras, licence, and how light the first import is."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = {"all", "test", "lint", "docs"}
LIGHT = {"click", "gevent", "kombu", "msgpack", "pyyaml"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def listed(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip()}


def loaded_by(statement: str) -> set[str]:
    """The top-level names of what a fresh interpreter has imported after a statement."""
    program = f"{statement}\nimport sys; print(' '.join(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return set(run.stdout.split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist, made from a copy of what is tracked."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "ls-files", "-z", "greenq", "pools", "setup.cfg", "pyproject.toml", "LICENSE", "README.md"],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    for kind in ("sdist", "wheel"):
        program = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
        command = [sys.executable, "-c", program, str(made)]
        run = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
    return made


def test_the_wheel_has_both_packages_their_types_and_the_licence(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {"greenq/py.typed", "pools/py.typed", "greenq/app.py", "pools/gevent.py"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"greenq", "pools", f"greenq-{version('greenq')}.dist-info"}
    assert any(name.endswith("LICENSE") for name in names)
    scripts = next(name for name in names if name.endswith("entry_points.txt"))
    assert scripts


def test_every_module_and_its_types_are_in_the_wheel(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "greenq", "pools"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.split()
    assert {
        name for name in tracked if name.endswith((".py", ".pyi", ".typed")) and (ROOT / name).is_file()
    } <= names


def test_the_source_archive_can_be_built_from_again(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md", "greenq/py.typed"} <= names


def test_pyproject_names_the_build_system_and_nothing_else() -> None:
    import tomllib

    assert set(tomllib.loads((ROOT / "pyproject.toml").read_text())) == {"build-system"}


def test_the_extra_all_is_every_optional_package() -> None:
    extras = setup_cfg()["options.extras_require"]
    optional = set().union(*(listed(extras[name]) for name in extras if name not in TOOLS))
    assert listed(extras["all"]) == optional


def test_the_core_installs_light() -> None:
    needed = listed(setup_cfg()["options"]["install_requires"])
    assert {re.split(r"[ <>=!~;]", line)[0].lower() for line in needed} == LIGHT


def test_what_is_claimed_of_python_was_tested() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", setup_cfg()["metadata"]["classifiers"])
    assert claimed == ["3.11"]


def test_the_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert setup_cfg()["metadata"]["license"] == "MIT"


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == version("greenq") == setup_cfg()["metadata"]["version"]


def test_importing_greenq_brings_no_pool_library_and_no_broker_library() -> None:
    assert not loaded_by("import greenq") & {"gevent", "eventlet", "greenlet", "kombu", "amqp", "asyncio"}


@pytest.mark.parametrize("module", ["greenq.cli", "greenq.__main__", "greenq.cli.worker", "greenq.config"])
def test_what_runs_before_patching_opens_the_way_for_it(module: str) -> None:
    """These are imported before the pool is known: whatever must be patched first may not be there yet."""
    assert not loaded_by(f"import {module}") & {
        "gevent",
        "eventlet",
        "greenlet",
        "kombu",
        "concurrent.futures.thread",
    }


def test_importing_pools_brings_no_pool_library_and_nothing_of_greenq() -> None:
    assert not loaded_by("import pools") & {"gevent", "eventlet", "greenlet", "greenq"}


def test_the_supervisor_brings_neither_the_application_nor_a_pool_library() -> None:
    assert not loaded_by("import greenq.worker.supervisor") & {"gevent", "eventlet", "greenlet", "greenq.app"}
