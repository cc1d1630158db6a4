"""What receivers of Celery's signals are told by a worker of greenq's that adopted their application."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.greenq.contrib.celery.conftest import PATIENCE, Shop
from tests.waiting import until


def test_signals_come_in_celerys_order_with_its_senders_and_arguments(make_shop: Callable[[], Shop]) -> None:
    shop = make_shop()
    worker = shop.start()
    assert shop.call("signalled", "well") == "well"
    with pytest.raises(ValueError, match="fail"):
        shop.call("signalled", "fail")
    assert shop.call("signalled", "retry") == "retry"
    until(lambda: len(shop.notes("task_postrun")) == 4, patience=PATIENCE)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    prerun = "signal task_prerun signalled id task_id=str task=signalled args=list kwargs=dict"
    postrun = "signal task_postrun signalled id task_id=str task=signalled args=list kwargs=dict "
    told = shop.notes("signal ")
    assert told[:5] == [
        "signal celeryd_init str - instance=WorkerView conf=Settings",
        "signal celeryd_after_setup str - instance=WorkerView conf=Settings",
        "signal worker_init WorkerView -", "signal worker_process_init NoneType -",
        "signal worker_ready WorkerView -",
    ]  # fmt: skip
    succeeded = [prerun, "signal task_success signalled - result=str", postrun + "retval=str state=str"]
    assert told[5:11] == [
        *succeeded,
        prerun,
        "signal task_failure signalled id task_id=str exception=ValueError args=list kwargs=dict "
        "traceback=traceback einfo=ExceptionInfo",
        postrun + "retval=ValueError state=str",
    ]
    # The second attempt may begin before the first one's receivers have all been called.
    assert sorted(told[11:-3]) == sorted(
        [
            prerun, "signal task_retry signalled id request=Context reason=Retry einfo=ExceptionInfo",
            postrun + "retval=Retry state=str", *succeeded,
        ]
    )  # fmt: skip
    assert told[-3:] == [
        "signal worker_shutting_down str - sig=str how=str exitcode=int",
        "signal worker_process_shutdown NoneType - pid=int exitcode=int",
        "signal worker_shutdown WorkerView -",
    ]


def test_the_banner_says_that_it_is_adopted(make_shop: Callable[[], Shop]) -> None:
    shop = make_shop()
    shop.start()
    assert shop.call("add", 1, 2) == 3
    until(
        lambda: (
            "app      adopted Celery application tests.greenq.contrib.celery.shop" in shop.log.read_text()
        ),
        60,
    )
