"""A worker of greenq's serves an unmodified Celery application: what its tasks see, and how they end."""

from __future__ import annotations

import pytest
from celery import chain, chord, group  # type: ignore[import-untyped]
from celery.exceptions import (  # type: ignore[import-untyped]
    MaxRetriesExceededError,
    Reject,
    TimeLimitExceeded,
)
from celery.result import result_from_tuple  # type: ignore[import-untyped]
from kombu.utils.uuid import uuid  # type: ignore[import-untyped]

from tests.greenq.contrib.celery.conftest import MODULE, PATIENCE, Shop
from tests.waiting import until

# ── what a task sees ─────────────────────────────────────────────────────────────────────────────────────


def test_a_task_sees_its_request_as_celery_shows_it(shop: Shop) -> None:
    result = shop.send("about", headers={"tenant": "x"}, priority=3)
    seen = result.get(timeout=PATIENCE)
    name = f"{MODULE}.about"
    assert seen["id"] == seen["root"] == result.id
    assert (seen["current"], seen["worker"], seen["directly"]) == (name, name, False)
    assert seen["delivery"]["routing_key"] == "celery"
    assert seen["delivery"]["redelivered"] is False
    assert seen["headers"]["tenant"] == "x"
    assert (seen["host"], seen["retries"], seen["delivery"]["priority"]) == (True, 0, 3)


def test_a_task_that_calls_another_like_a_function_has_its_own_request_again(shop: Shop) -> None:
    result = shop.send("nested")
    seen = result.get(timeout=PATIENCE)
    outer = f"{MODULE}.nested"
    assert (seen["before"], seen["after"], seen["id"]) == (outer, outer, result.id)
    assert seen["inner"] == [f"{MODULE}.inner", outer, True]


def test_tasks_at_once_see_each_its_own_request(shop: Shop) -> None:
    results = [shop.send("meet", 8) for _ in range(8)]
    for result in results:
        assert result.get(timeout=PATIENCE) == f"{result.id} {result.id}"


def test_settings_annotations_and_routes_count(shop: Shop) -> None:
    assert shop.call("annotated") == 7


def test_a_task_that_is_a_class(shop: Shop) -> None:
    result = shop.app.send_task("shop.counting", (1,))
    assert result.get(timeout=PATIENCE) == [2, "shop.counting", "shop.counting"]


def test_models_as_arguments(shop: Shop) -> None:
    assert shop.call("order", {"item": "tea"}) == {"item": "TEA", "count": 2}


def test_progress_is_stored_and_read_by_celerys_own_backend(shop: Shop) -> None:
    assert shop.call("progressing") == "PROGRESS"


# ── how a task ends ──────────────────────────────────────────────────────────────────────────────────────


def test_retries_that_the_task_asks_for(shop: Shop) -> None:
    assert shop.call("stubborn", 2) == 2


def test_retries_that_its_options_ask_for_come_to_an_end(shop: Shop) -> None:
    result = shop.send("hopeless")
    with pytest.raises(KeyError):
        result.get(timeout=PATIENCE)
    assert shop.app.backend.get_task_meta(result.id)["retries"] == 2


def test_a_retry_that_is_refused_at_once(shop: Shop) -> None:
    with pytest.raises((ValueError, MaxRetriesExceededError)):
        shop.call("stubborn", 9)


def test_a_task_that_is_replaced(shop: Shop) -> None:
    assert shop.call("replaced") == 13


def test_a_member_that_adds_another_to_its_chord(shop: Shop) -> None:
    body = chord([shop.sign("growing"), shop.sign("add", 2, 2)], shop.sign("total"), app=shop.app)
    assert body.delay().get(timeout=PATIENCE) == 105


def test_the_results_of_what_a_task_sends_are_its_children(shop: Shop) -> None:
    result = shop.send("families")
    own, child = result.get(timeout=PATIENCE)
    assert own == result.id
    assert child in [one.id for one in result.children]
    assert len(result.children) == 2


def test_a_result_as_a_value(shop: Shop) -> None:
    (id, parent), children = shop.call("a_result")
    assert children is None
    assert isinstance(id, str)
    assert isinstance(parent, list | None)


def test_a_task_that_wants_to_be_ignored_leaves_no_result(shop: Shop) -> None:
    result = shop.send("ignoring")
    until(lambda: f"ignoring[{result.id}] is ignored" in shop.log.read_text(), patience=PATIENCE)
    assert result.state == "PENDING"


def test_a_task_that_rejects_its_message_has_failed(shop: Shop) -> None:
    with pytest.raises(Reject):
        shop.call("rejecting")


def test_the_soft_limit_raises_what_celerys_tasks_catch(shop: Shop) -> None:
    assert shop.call("slow") == "billiard.exceptions SoftTimeLimitExceeded()"


def test_the_hard_limit_ends_a_task(shop: Shop) -> None:
    with pytest.raises(TimeLimitExceeded):
        shop.call("too_slow")


# ── workflows ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_with_a_group_in_it(shop: Shop) -> None:
    flow = chain(
        shop.sign("add", 1, 2), group(shop.sign("add", 1), shop.sign("add", 2)), shop.sign("total"),
        app=shop.app,
    )  # fmt: skip
    assert flow.delay().get(timeout=PATIENCE) == 9


def test_a_chord_that_a_task_sends(shop: Shop) -> None:
    body = shop.app.AsyncResult(shop.call("workflow"))
    assert body.get(timeout=PATIENCE) == 12


def test_an_errback_gets_request_exception_and_traceback(shop: Shop) -> None:
    result = shop.sign("failing", "oh").on_error(shop.sign("told")).delay()
    with pytest.raises(ValueError, match="oh"):
        result.get(timeout=PATIENCE)
    # It finds the failure stored, as with Celery.
    shop.until_noted(f"errback {result.id} ValueError('oh') FAILURE")


def test_an_errback_of_a_chord_with_a_chord_in_it_is_called_once(shop: Shop) -> None:
    within = chord([shop.sign("add", 1, 1), shop.sign("failing", "oh")], shop.sign("total"), app=shop.app)
    whole = chord([shop.sign("add", 2, 2), within], shop.sign("total"), app=shop.app)
    whole.link_error(shop.sign("noting", "nested", "errback", immutable=True))
    body = whole.delay()
    # The body fails after its errbacks were called.
    until(lambda: body.state == "FAILURE", patience=PATIENCE)
    assert shop.notes("nested errback") == ["nested errback"]


def test_celerys_own_tasks_are_there(shop: Shop) -> None:
    mapped = shop.app.signature("celery.map", kwargs={"task": shop.sign("total"), "it": [[1, 2], [3]]})
    assert mapped.delay().get(timeout=PATIENCE) == [3, 3]
    assert shop.app.send_task("celery.backend_cleanup").get(timeout=PATIENCE) is None
    parts = shop.app.send_task("celery.chunks", (shop.sign("add"), [[1, 1], [2, 2], [3, 3]], 2))
    sent = result_from_tuple(parts.get(timeout=PATIENCE), app=shop.app)
    assert sent.get(timeout=PATIENCE) == [[2, 4], [6]]
    adds = [shop.sign("add", n, n).delay() for n in range(3)]
    body = shop.sign("total").set(task_id=uuid())
    asked = {"result": [result.as_tuple() for result in adds], "interval": 0.1}
    shop.app.send_task("celery.chord_unlock", (uuid(), body), asked)
    assert shop.app.AsyncResult(body.id).get(timeout=PATIENCE) == 6


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_hooks_of_a_class_are_called_with_celerys_arguments(shop: Shop) -> None:
    assert shop.call("watched", "well") == "well"
    with pytest.raises(ValueError, match="fail"):
        shop.call("watched", "fail")
    assert shop.call("watched", "retry") == "retry"
    shop.until_noted("on_success retry", "after_return FAILURE", "on_retry")
    until(lambda: len(shop.notes("after_return")) == 3, patience=PATIENCE)
    noted = [line for line in shop.notes() if line.partition(" ")[0] in HOOKS]
    assert noted == [
        "before_start well", "call watched well", "run well False", "on_success well well",
        "after_return SUCCESS 'well' None",
        "before_start fail", "call watched fail", "run fail False",
        "on_failure ValueError('fail') ExceptionInfo True fail",
        "after_return FAILURE ValueError('fail') None",
        "before_start retry", "call watched retry", "run retry False", "on_retry ValueError('retry') retry",
        "before_start retry", "call watched retry", "run retry False", "on_success retry retry",
        "after_return SUCCESS 'retry' None",
    ]  # fmt: skip


HOOKS = {"before_start", "call", "run", "on_success", "on_failure", "on_retry", "after_return"}
