"""Tasks from elsewhere: shared by libraries, found in packages, given options from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, InvalidOption, Task, shared, shared_task
from greenq.errors import AppError


def app_of(name: str = "shop", **settings: Any) -> GreenQ:
    return GreenQ(name, broker="memory://registry", results="memory://registry", **settings)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the tasks shared here is any other test's."""
    monkeypatch.setattr(shared, "_tasks", [])
    monkeypatch.setattr(shared, "_apps", type(shared._apps)())


# ── shared by libraries ──────────────────────────────────────────────────────────────────────────────────


def test_a_shared_task_is_one_of_every_application_made_before_or_after() -> None:
    before = app_of()

    @shared_task(bind=True, max_retries=7, name="lib.add")
    def add(self: Task[Any, Any], x: int) -> tuple[str, int]:
        return self.app.main or "", x + 1

    after = app_of("later")
    for app in (before, after):
        assert app.tasks["lib.add"].max_retries == 7
        assert app.tasks["lib.add"].app is app
    assert "lib.add" not in app_of("alone", shared=False).tasks
    assert add(1) == ("later", 2)
    assert add.name == "lib.add"
    assert add.apply((2,)).get() == ("later", 3)


def test_a_shared_task_is_a_plain_function_until_there_is_an_application() -> None:
    @shared_task
    def add(x: int) -> int:
        """Add one."""
        return x + 1

    @shared_task(bind=True)
    def bound(self: Any) -> None: ...

    assert add(1) == 2
    assert (add.__name__, add.__doc__) == ("add", "Add one.")
    with pytest.raises(AppError, match="no application yet"):
        add.delay(1)
    with pytest.raises(AppError, match="no application yet"):
        bound()


def test_an_application_keeps_its_own_task_of_the_name() -> None:
    app = app_of()

    @app.task(name="lib.add")
    def mine() -> str:
        return "mine"

    @shared_task(name="lib.add")
    def theirs() -> str:
        return "theirs"

    assert app.tasks["lib.add"]() == "mine"
    assert app_of()._own["lib.add"] == {}


def test_an_application_that_is_gone_is_not_asked() -> None:
    first = app_of("first")

    @shared_task(name="lib.who", bind=True)
    def who(self: Any) -> Any:
        return self.app.main

    second = app_of("second")
    assert who() == "second"
    for task in second.tasks.values():
        del task.app
    second.tasks.clear()
    del second, task
    import gc

    gc.collect()
    assert who() == first.main


def test_a_wrong_option_of_a_shared_task_is_told() -> None:
    app = app_of()
    with pytest.raises(InvalidOption, match="did you mean 'max_retries'"):
        shared_task(max_retires=1)(lambda: None)  # type: ignore[call-overload]
    assert not app.tasks


# ── found in packages ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with tasks, one without, and one whose tasks can't be imported."""
    for name in ("with_tasks", "without_tasks", "broken_tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    text = "from greenq import shared_task\n@shared_task(name='found.{}')\ndef task(): ...\n"
    (tmp_path / "with_tasks" / "tasks.py").write_text(text.format("tasks"))
    (tmp_path / "with_tasks" / "jobs.py").write_text(text.format("jobs"))
    (tmp_path / "broken_tasks" / "tasks.py").write_text("\nimport not_there_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("_tasks")]:
        del sys.modules[name]


def test_modules_with_tasks_are_found_when_somebody_looks(packages: Path) -> None:
    app = app_of()
    app.autodiscover_tasks(["with_tasks", "without_tasks"])
    app.autodiscover_tasks(lambda: ["with_tasks"], related_name="jobs")
    assert not app.tasks
    app.load_tasks()
    assert set(app.tasks) == {"found.tasks", "found.jobs"}


def test_modules_with_tasks_can_be_found_at_once(packages: Path) -> None:
    app = app_of()
    app.autodiscover_tasks(["with_tasks"], force=True)
    assert set(app.tasks) == {"found.tasks"}


def test_the_configuration_names_modules_and_packages(packages: Path) -> None:
    app = app_of(imports=["with_tasks.jobs"], autodiscover=["with_tasks", "without_tasks"])
    app.load_tasks()
    assert set(app.tasks) == {"found.tasks", "found.jobs"}


@pytest.mark.parametrize(
    ("package", "problem"),
    [("broken_tasks", "tasks.py:2: .*not_there_at_all"), ("no_such_package", "no_such_package")],
)
def test_an_import_that_fails_is_an_error_with_its_place(packages: Path, package: str, problem: str) -> None:
    with pytest.raises(AppError, match=problem):
        app_of(autodiscover=[package]).load_tasks()


def test_a_class_in_a_package_means_the_module_that_holds_it(packages: Path) -> None:
    (packages / "with_tasks" / "apps.py").write_text("class Config: ...\n")
    app = app_of()
    app.autodiscover_tasks(["with_tasks.apps.Config", "with_tasks"], force=True)
    assert set(app.tasks) == {"found.tasks"}


def test_without_django_somebody_must_name_the_packages() -> None:
    app = app_of()
    code = (
        "from greenq import GreenQ\n"
        "app = GreenQ(broker='memory://')\n"
        "try:\n    app.autodiscover_tasks(force=True)\n"
        "except Exception as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "which packages?" in run.stdout
    assert not app.tasks


def test_commands_see_what_is_found(packages: Path) -> None:
    (packages / "shop_tasks.py").write_text(
        "from greenq import GreenQ\napp = GreenQ('shop', broker='memory://x', autodiscover=['with_tasks'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "greenq", "tasks", "-A", "shop_tasks"],
        cwd=packages, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "found.tasks" in run.stdout


# ── options from outside ─────────────────────────────────────────────────────────────────────────────────


def test_annotations_go_before_the_decorator_and_the_exact_name_before_patterns() -> None:
    app = app_of(
        annotations={
            "shop.mail": {"max_retries": 1},
            "shop.*": {"max_retries": 2, "time_limit": "30s", "autoretry_for": ["ValueError"]},
            "*": {"max_retries": 3, "queue": "all"},
        }
    )

    @app.task(name="shop.mail", max_retries=9, time_limit=5)
    def mail() -> None: ...

    @app.task(name="shop.other")
    def other() -> None: ...

    @app.task(name="else")
    def rest() -> None: ...

    assert [task.max_retries for task in (mail, other, rest)] == [1, 2, 3]
    assert [task.options.time_limit for task in (mail, other, rest)] == [30.0, 30.0, None]
    assert mail.options.autoretry_for == (ValueError,)
    assert app.composer.compose("else", (), {}).queue == "all"
    assert app.composer.compose("shop.mail", (), {}).headers["timelimit"] == [30.0, None]


def test_annotations_in_code_may_be_functions_and_celerys_objects() -> None:
    class Slow:
        def annotate(self, task: Any) -> Any:
            return {"time_limit": 60} if task.name.startswith("slow.") else None

    def retried(task: Any) -> Any:
        return {"max_retries": task.max_retries + 1}

    app = app_of(annotations=[{"*": {"priority": 4}}, Slow(), retried])

    @app.task(name="slow.a", max_retries=1)
    def a() -> None: ...

    assert (a.options.time_limit, a.max_retries, a.options.priority) == (60, 2, 4)
    app.override({"tasks.priority": (9, "test")})
    assert (a.options.time_limit, a.max_retries, a.options.priority) == (60, 2, 4)


def test_annotations_hold_for_shared_tasks_and_may_come_with_an_override() -> None:
    @shared_task(name="lib.a")
    def a() -> None: ...

    app = app_of(annotations={"lib.*": {"max_retries": 8}})
    assert app.tasks["lib.a"].max_retries == 8
    assert app_of().tasks["lib.a"].max_retries == 3


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({"a": {"time_limt": 3}}, "did you mean 'time_limit'"),
        ({"a": 5}, "options by name"),
        ([5], "no mapping, function or object"),
        ({"a": {"time_limit": "soon"}}, "time_limit must be a time"),
        ({"a": {"throws": "nowhere:Error"}}, "nowhere"),
        ({"a": {"max_retries": "x"}}, "max_retries must be"),
        ({"a": {"soft_time_limit": 9}}, "must not be above"),
    ],
)
def test_a_wrong_annotation_is_named(annotations: Any, problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem):
        app_of(annotations=annotations).task(name="a", time_limit=5)(lambda: None)


def test_a_batch_has_no_class_with_a_call_of_its_own() -> None:
    from greenq import Batch

    class Calling(Task[Any, Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.run(*args, **kwargs)

    with pytest.raises(InvalidOption, match="own __call__"):
        app_of().task(base=Calling, batch=Batch())(lambda: None)
