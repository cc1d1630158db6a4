"""A Celery application is found where one of greenq's is; and nobody imports Celery for the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from greenq.cli.root import root
from greenq.contrib.celery.application import AdoptedApp
from greenq.errors import AppError
from greenq.loading import load_app

CELERY = "from celery import Celery\n{name} = Celery('{main}', broker='redis://127.0.0.1:1', {more})\n"
TASK = "@{name}.task(shared=False)\ndef add(x, y=2):\n    'Adds.'\n    return x + y\n"

FILES = {
    "adopt_one.py": CELERY.format(name="anything", main="one", more="") + TASK.format(name="anything"),
    "adopt_package/__init__.py": "from .celery import app as celery_app\n",
    "adopt_package/celery.py": CELERY.format(
        name="app", main="package", more="include=['adopt_package.more']"
    ),
    "adopt_package/more.py": "from celery import shared_task\n@shared_task\ndef shared():\n    return 1\n",
    "adopt_bare/__init__.py": "",
    "adopt_bare/celery.py": CELERY.format(name="x", main="bare", more=""),
    "adopt_made.py": "def create_app():\n    from celery import Celery\n    return Celery('made')\n",
    "adopt_both.py": "from greenq import GreenQ\napp = GreenQ('own', broker='memory://a')\n"
    + CELERY.format(name="celery", main="theirs", more=""),
    "adopt_two.py": CELERY.format(name="one", main="one", more="") + "two = Celery('two')\n",
    "adopt_wrong.py": CELERY.format(name="app", main="wrong", more="include=['adopt_nowhere']"),
    "adopt_odd.py": CELERY.format(name="app", main="odd", more="backend='redis://:pw@127.0.0.1:1/2'")
    + "app.conf.update(worker_direct=True, task_routes={'a.*': 'one'}, task_time_limit=30)\n"
    + "@app.task(rate_limit='1/s', shared=False)\nasync def green():\n    pass\n",
}


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in [name for name in sys.modules if name.startswith("adopt_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("written", "main"),
    [
        ("adopt_one", "one"), ("adopt_one:anything", "one"), ("adopt_package", "package"),
        ("adopt_package.celery:app", "package"), ("adopt_package:celery_app", "package"),
        ("adopt_bare", "bare"), ("adopt_made:create_app()", "made"), ("adopt_two:two", "two"),
    ],
)  # fmt: skip
def test_it_is_found(written: str, main: str) -> None:
    found = load_app(written)
    assert isinstance(found, AdoptedApp)
    assert found.celery.main == main
    assert load_app(written) is found or "()" in written


def test_an_application_of_greenqs_goes_first() -> None:
    assert not isinstance(load_app("adopt_both"), AdoptedApp)
    assert isinstance(load_app("adopt_both:celery"), AdoptedApp)


def test_two_are_one_too_many() -> None:
    with pytest.raises(AppError, match="say which: adopt_two:one, adopt_two:two"):
        load_app("adopt_two")


def test_a_module_that_is_missing_is_told_in_a_line() -> None:
    with pytest.raises(AppError, match="adopt_nowhere"):
        load_app("adopt_wrong").load_tasks()


def test_its_tasks_are_those_of_its_modules_and_celerys_own() -> None:
    app = load_app("adopt_package")
    app.load_tasks()
    assert {"adopt_package.more.shared", "celery.chain", "celery.chord_unlock", "celery.map"} <= set(
        app.tasks
    )


def test_celery_is_not_imported_for_an_application_of_greenqs(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from greenq import GreenQ\napp = GreenQ('own', broker='memory://a')\n")
    script = (
        "import sys\nfrom greenq.loading import load_app\nload_app('own').load_tasks()\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('celery', 'kombu')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────


def test_tasks_are_listed_with_the_signatures_of_their_functions() -> None:
    ran = CliRunner().invoke(root, ["tasks", "-A", "adopt_one"])
    assert ran.exit_code == 0, ran.output
    assert "adopt_one.add" in ran.output
    assert "(x, y=2)" in ran.output


def test_its_configuration_is_written_without_its_passwords() -> None:
    ran = CliRunner().invoke(root, ["config", "from-celery", "-A", "adopt_odd"])
    assert ran.exit_code == 0, ran.output
    assert "app: adopt_odd\n" in ran.output
    assert '  url: "redis://:${RESULTS_PASSWORD}@127.0.0.1:1/2"\n' in ran.output
    assert "  time_limit: 30s\n" in ran.output
    assert '  - {"match": "a.*", "queue": "one"}\n' in ran.output
    assert "# worker_direct = True does something else here" in ran.output
    assert "pw@" not in ran.output


def test_what_is_written_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = CliRunner().invoke(root, ["config", "from-celery", "-A", "adopt_odd"]).output
    (tmp_path / "greenq.yaml").write_text(written)
    monkeypatch.setenv("RESULTS_PASSWORD", "pw")
    ran = CliRunner().invoke(root, ["config", "check"])
    assert (ran.exit_code, ran.output) == (0, "ok: greenq.yaml\n")
    app = load_app("adopt_odd")
    app.override({}, "greenq.yaml")
    assert app.config.origin("tasks.time_limit").startswith("greenq.yaml:")
    assert app.settings.results.url == "redis://:pw@127.0.0.1:1/2"


def test_only_a_celery_application_can_be_written() -> None:
    ran = CliRunner().invoke(root, ["config", "from-celery", "-A", "adopt_both"])
    assert ran.exit_code == 2
    assert "is no Celery application" in ran.output


def test_what_differs_is_said_with_what_to_do() -> None:
    app = load_app("adopt_odd")
    app.load_tasks()
    said = dict(app.differences())
    assert "worker_direct = True does something else here" in said
    assert any("coroutine functions" in text and "adopt_odd.green" in text for text in said)
    assert all(said.values())


def test_its_configuration_is_told_as_celery_tells_it() -> None:
    app = load_app("adopt_odd")
    told = app.origin_configuration(False)
    assert told is not None
    assert (told["task_time_limit"], told["worker_direct"]) == (30, True)
    assert "pw" not in str(told["result_backend"])
    assert "worker_hijack_root_logger" in (app.origin_configuration(True) or {})
    assert "software -> celery:" in (app.origin_report() or "")


def test_nothing_differs_in_a_plain_application() -> None:
    app = load_app("adopt_one")
    app.load_tasks()
    assert app.differences() == []
