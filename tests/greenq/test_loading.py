"""Finding the application that somebody names, and one line for each way that it fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.errors import AppError, ConfigError
from greenq.loading import load_app
from greenq.locating import find

APP = "from greenq import GreenQ\n{name} = GreenQ('{main}', broker='memory://a')\n"

FILES = {
    "shop_one/__init__.py": "",
    "shop_one/tasks.py": APP.format(name="app", main="tasks"),
    "shop_one/plain/tasks.py": APP.format(name="app", main="plain"),
    "shop_celery/__init__.py": "",
    "shop_celery/celery.py": APP.format(name="anything", main="celery"),
    "shop_many.py": APP.format(name="one", main="one") + APP.format(name="two", main="two"),
    "shop_named.py": APP.format(name="one", main="one") + APP.format(name="celery", main="two"),
    "shop_made.py": "def create_app():\n    from greenq import GreenQ\n"
    "    return GreenQ('made', broker='memory://a')\n"
    "def broken():\n    return 1 / 0\ndef other():\n    return 5\nvalue = 5\n",
    "shop_none.py": "x = 1\n",
    "shop_wrong/__init__.py": "",
    "shop_wrong/missing.py": "import json\nimport a_package_that_is_not_there\n",
    "shop_wrong/fails.py": "def setting():\n    raise KeyError('SHOP_KEY')\n\nsetting()\n",
    "shop_wrong/syntax.py": "x = 1\ndef broken(:\n    pass\n",
    "shop_wrong/ends.py": "import sys\nsys.exit(3)\n",
    "shop_wrong/config.py": "from greenq import GreenQ\napp = GreenQ('x', brokr='memory://a')\n",
    "shop_wrong/two_lines.py": "raise ValueError('one\\ntwo')\n",
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
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("shop_one.tasks", "tasks"),
        ("shop_one.tasks:app", "tasks"),
        ("shop_one", "tasks"),
        ("shop_celery", "celery"),
        ("shop_many:two", "two"),
        ("shop_named", "two"),
        ("shop_made:create_app()", "made"),
    ],
)
def test_the_application_is_found(name: str, main: str) -> None:
    assert load_app(name).main == main
    assert load_app(name).main == main


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "names no application"),
        ("shop one", "names no application"),
        ("shop_one/tasks.py", "names no application"),
        ("no_such_shop", "there is no module no_such_shop"),
        ("shop_on", "did you mean shop_one"),
        ("shop_one.task", "did you mean shop_one.tasks"),
        ("shop_one.zzz", "shop_one has tasks"),
        ("shop_many.py", "shop_many is a module, not a package"),
        ("shop_many.one", "did you mean shop_many:one"),
        ("shop_none", "has no application: it needs a line such as"),
        ("shop_many", "several applications; say which: shop_many:one, shop_many:two"),
        ("shop_many:on", "did you mean shop_many:one"),
        ("shop_many:zzz", "applications in it: one, two"),
        ("shop_made:create_app", "is a function: write shop_made:create_app()"),
        ("shop_made:value", "shop_made:value is a int, not a GreenQ"),
        ("shop_made:value()", "cannot be called: drop the ()"),
        ("shop_made:broken()", "shop_made.py:5: ZeroDivisionError"),
        ("shop_made:other()", "is a int, not a GreenQ"),
        (
            "shop_wrong.missing",
            "shop_wrong.missing cannot be imported: shop_wrong/missing.py:2: ModuleNotFoundError: "
            "No module named 'a_package_that_is_not_there'",
        ),
        ("shop_wrong.fails", "shop_wrong/fails.py:2: KeyError: 'SHOP_KEY'"),
        ("shop_wrong.syntax", "shop_wrong/syntax.py:2: SyntaxError: "),
        ("shop_wrong.ends", "shop_wrong/ends.py:2: SystemExit: it ends the program (3)"),
        ("shop_wrong.two_lines", "ValueError: one two"),
    ],
)
def test_what_is_wrong_is_one_line(name: str, says: str) -> None:
    with pytest.raises(AppError) as caught:
        load_app(name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_its_configuration_stays_one() -> None:
    with pytest.raises(ConfigError, match="brokr"):
        load_app("shop_wrong.config")


def test_a_directory_without_an_init_file_inside_a_package_is_found() -> None:
    find("shop_one.plain.tasks:app")
    with pytest.raises(AppError, match=r"shop_one\.plain\.tasks"):
        find("shop_one.plain.task")
    assert load_app("shop_one.plain.tasks:app").main == "plain"
