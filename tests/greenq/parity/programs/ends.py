"""The ways in which a task can end."""
# ruff: noqa: F821 - app and log are given to it

from celery.exceptions import Ignore, Reject


class Broken(Exception):
    pass


@app.task
def add(x, y=1):
    return x + y


@app.task
def fail(*args):
    raise Broken(*args)


@app.task
def fail_with_a_builtin():
    return {}["missing"]


@app.task(throws=(Broken,))
def fail_as_it_may():
    raise Broken("expected")


@app.task(ignore_result=True)
def unnoticed():
    return 1


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def noticed_if_bad():
    raise Broken("stored")


@app.task
def ignore():
    raise Ignore("no trace")


@app.task
def reject():
    raise Reject("not this one", requeue=False)


@app.task
def everything():
    return {"a": [1, 2.5, None, True], "b": "ü", "c": {}}


@app.task(track_started=True)
def started():
    return started.AsyncResult(started.request.id).state


def main():
    ignored = ignore.delay(), unnoticed.delay()
    calls = {
        "add": add.delay(1),
        "add by name": add.delay(x=1, y=5),
        "by its name": app.send_task("ends.add", (2, 3)),
        "fail": fail.delay("x", 2, None),
        "fail without arguments": fail.delay(),
        "fail with a builtin": fail_with_a_builtin.delay(),
        "fail as it may": fail_as_it_may.delay(),
        "noticed if bad": noticed_if_bad.delay(),
        "everything": everything.delay(),
        "started": started.delay(),
        "expired": add.apply_async((1, 1), expires=-5),
    }
    calls["last"] = add.delay(0, 0)
    calls["last"].get(timeout=30)
    return calls | {"ignored": [result.state for result in ignored]}
