"""Middleware's hooks run around every run, where the function runs, whatever ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, Middleware, SoftTimeLimitExceeded
from greenq.request import Request, current
from greenq.worker.hooks import Hooks
from pools.errors import Killed
from tests.greenq.worker.conftest import HERE, Shop
from tests.greenq.worker.test_every_pool import NO_LIMITS, POOLS
from tests.waiting import PATIENCE, until

ROOT = HERE.parents[2]


def identity(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


@pytest.fixture
def request_here() -> Iterator[Request]:
    request = Request.for_direct_call("shop.work", (), {})
    before = current.set(request)
    yield request
    current.reset(before)


# ── what a function with hooks does ──────────────────────────────────────────────────────────────────────


class Told(Middleware):
    """Remembers what it was told; raises what it is given."""

    def __init__(self, before: BaseException | None = None, *after: BaseException) -> None:
        self.before = before
        self.after = list(after)
        self.runs: list[Any] = []

    def before_run(self, request: Request) -> None:
        self.runs.append("before")
        if self.before is not None:
            raise self.before

    def after_run(self, request: Request, value: Any, error: BaseException | None) -> None:
        self.runs.append((value, type(error)))
        if self.after:
            raise self.after.pop(0)


def test_without_a_hook_the_function_is_left_as_it_is() -> None:
    assert Hooks([Middleware()]).around(len, identity) is len


def test_a_hook_is_told_the_value_or_the_exception(request_here: Request) -> None:
    told = Told()
    assert Hooks([told]).around(len, identity)("four") == 4
    with pytest.raises(TypeError):
        Hooks([told]).around(len, identity)(4)
    assert told.runs == ["before", (4, type(None)), "before", (None, TypeError)]


def test_what_a_hook_raises_is_logged_and_changes_nothing(
    request_here: Request, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = Told(KeyError("x"), SystemExit("y")), Told()
    with caplog.at_level(logging.ERROR):
        assert Hooks([broken, whole]).around(len, identity)("four") == 4
    assert whole.runs == ["before", (4, type(None))]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "Told.before_run failed for shop.work" in caplog.text


def test_a_limit_that_comes_before_the_function_is_the_tasks(request_here: Request) -> None:
    told = Told(SoftTimeLimitExceeded())
    with pytest.raises(SoftTimeLimitExceeded):
        Hooks([told]).around(len, identity)("four")
    assert told.runs == ["before", (None, SoftTimeLimitExceeded)]


@pytest.mark.parametrize("limit", [SoftTimeLimitExceeded, Killed])
def test_a_hook_that_a_limit_interrupts_is_called_again(
    request_here: Request, limit: type[BaseException]
) -> None:
    told, other = Told(None, limit()), Told()
    run = Hooks([other, told]).around(len, identity)
    if limit is Killed:
        with pytest.raises(Killed):
            run("four")
    else:
        assert run("four") == 4
    assert told.runs == ["before", (4, type(None)), (4, type(None))]
    assert other.runs == ["before", (4, type(None))]


def test_the_last_to_begin_is_the_first_to_end(request_here: Request) -> None:
    order: list[str] = []

    class Named(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_run(self, request: Request) -> None:
            order.append(f"before {self.name}")

        def after_run(self, request: Request, value: Any, error: BaseException | None) -> None:
            order.append(f"after {self.name}")

    Hooks([Named("a"), Named("b")]).around(len, identity)("four")
    assert order == ["before a", "before b", "after b", "after a"]


# ── under every pool ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", POOLS)
def test_hooks_run_where_the_function_runs_however_it_ends(shop: Shop, pool: str) -> None:
    (shop.path / "greenq.yaml").write_text("middleware: [hooked:Traces]\n")
    env = {"HOOKED_LEDGER": shop.ledger, "PYTHONPATH": f"{HERE}:{ROOT}"}
    if pool in NO_LIMITS:
        env["SHOP_NO_LIMITS"] = "1"
    worker = shop.worker("-A", "hooked", *POOLS[pool], env=env)
    names = ["here", "fails", "retried", "coroutine", "soft", "frames"]
    if pool not in NO_LIMITS:
        names.append("hard")
    sent = {name: shop.app.send_task(f"hooked.{name}") for name in names}
    values = {name: result.get(timeout=PATIENCE, propagate=False) for name, result in sent.items()}
    expected = {
        "fails": "ValueError", "soft": "SoftTimeLimitExceeded", "hard": "Killed",
    }  # fmt: skip
    # Two of "retried". A killed thread of the asyncio pool ends after its call; a killed child says nothing.
    ends = len(names) + 1 - (pool == "prefork")
    until(lambda: sum(" after code " in line for line in shop.lines()) == ends, what="every last hook")
    told = {name: [line.split() for line in shop.lines() if line.startswith(sent[name].id)] for name in names}
    for name in names:
        if name == "hard" and pool == "prefork":
            continue  # its process is gone, and every connection with it
        runs = 2 if name == "retried" else 1
        words = [line[1:3] for line in told[name] if line[1] != "released"]
        around = [["before", "code"], ["before", "yaml"], ["after", "yaml"], ["after", "code"]]
        assert words == around * runs, (name, words)
        assert (
            told[name][-1][-1] == expected.get(name, "NoneType") or runs == 2 or "released" in told[name][-1]
        )
        assert ["released"] in [line[1:] for line in told[name]] or name not in expected, name
    assert {line[3] for line in told["here"]} == {str(values["here"])}
    assert (values["retried"], values["coroutine"]) == ("again", "awaited")
    assert len([module for module in values["frames"] if module.split(".")[0] == "greenq"]) <= 3
    until(lambda: shop.depth().leased == 0, what="everything settled")
    assert (shop.depth().ready, shop.depth().dead) == (0, 0)
    assert "Breaks.after_run failed for hooked.here" in worker.output


@pytest.mark.parametrize(
    ("pool", "name", "mistake"),
    [
        ("gevent", "shop:note", "is neither a greenq.Middleware nor a class of them"),
        ("prefork", "shop:no_such_hooks", "cannot be imported"),
    ],
)
def test_a_middleware_that_cannot_be_had_is_told_at_the_start(
    shop: Shop, tmp_path: Path, pool: str, name: str, mistake: str
) -> None:
    (tmp_path / "greenq.yaml").write_text(f"middleware: [{name}]\n")
    worker = shop.worker(*POOLS[pool], ready=False)
    assert worker.wait() == 2
    assert f"middleware {name} {mistake}" in worker.output
    assert "Traceback" not in worker.output


def test_an_applications_middleware_comes_before_the_files() -> None:
    told = Told()
    app = GreenQ("shop", {"middleware": ["greenq:Middleware"]}, broker="memory://hooks", middleware=[told])
    first, second = app.middleware()
    assert first is told
    assert type(second) is Middleware
    app.close()
