"""Hooks of a task's class, and signals about runs."""
# ruff: noqa: F821 - app and log are given to it

import time

from celery import Task, signals
from celery.exceptions import Ignore


class Told(Task):
    def before_start(self, task_id, args, kwargs):
        log.append(["before_start", self.name, task_id, args, kwargs])

    def on_success(self, retval, task_id, args, kwargs):
        log.append(["on_success", retval, task_id, args, kwargs])

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        log.append(["on_failure", exc, task_id, args, kwargs, einfo.type.__name__])
        assert "Traceback" in str(einfo)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        log.append(["on_retry", exc, task_id, args, kwargs])

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        log.append(["after_return", status, retval, task_id, args, kwargs, einfo is None])


class Calling(Told):
    def __call__(self, *args, **kwargs):
        log.append(["__call__", args, kwargs, self.request.called_directly, self.request.retries])
        return super().__call__(*args, **kwargs)


class Clumsy(Task):
    def on_success(self, *args):
        raise ValueError("in the hook")

    after_return = on_success


class Refusing(Task):
    def before_start(self, *args):
        raise ValueError("not today")


@app.task(base=Told)
def add(x, y=0):
    return x + y


@app.task(base=Calling, bind=True, default_retry_delay=0)
def retried(self, x):
    if self.request.retries == 0:
        raise self.retry(exc=KeyError("later"))
    return x


@app.task(base=Told)
def fail():
    raise ValueError("bad")


@app.task(base=Told)
def ignore():
    raise Ignore


@app.task(base=Clumsy)
def clumsy():
    return 5


@app.task(base=Refusing)
def refusing():
    return 6


def listen(signal, sender, *names):
    def receiver(sender, **kwargs):
        told = [sender.name, *(kwargs[name] for name in names)]
        log.append([signal, *told, sorted(set(kwargs) - {"signal"})])

    getattr(signals, signal).connect(receiver, sender=sender, weak=False)


def published():
    """What receivers are told about a message, before and after it is sent."""
    told = []

    def before(sender=None, headers=None, body=None, exchange=None, routing_key=None, **_):
        told.append(["before", sender, headers["task"], headers["id"], list(body[0]), exchange, routing_key])

    def after(sender=None, headers=None, body=None, exchange=None, routing_key=None, **_):
        told.append(["after", sender, headers["task"], headers["id"], list(body[0]), exchange, routing_key])

    signals.before_task_publish.connect(before, weak=False)
    signals.after_task_publish.connect(after, weak=False)
    add.apply_async((6, 6), task_id="published").get(timeout=60)
    signals.before_task_publish.disconnect(before)
    signals.after_task_publish.disconnect(after)
    add.apply_async((7, 7), task_id="unheard").get(timeout=60)
    return told


def main():
    for task in (add, retried, fail, ignore):
        listen("task_prerun", task, "task_id", "args", "kwargs")
        listen("task_postrun", task, "task_id", "args", "kwargs", "state")
        listen("task_success", task, "result")
        listen("task_failure", task, "task_id", "exception", "args", "kwargs")
        listen("task_retry", task)
    ignored = ignore.delay()
    made = {
        "add": add.delay(1, y=2),
        "fail": fail.delay(),
        "retried": retried.delay(3),
        "clumsy": clumsy.delay(),
        "refusing": refusing.delay(),
    }
    made["retried"].get(timeout=30)
    made["last"] = add.delay(5)
    made["last"].get(timeout=30)
    deadline = time.monotonic() + 60
    while ["task_postrun", "hooks.add", made["last"].id] not in [entry[:3] for entry in log]:
        assert time.monotonic() < deadline, "the last hook is not called"
        time.sleep(0.01)
    made["eager"] = [
        add.apply((1,)).get(),
        fail.apply().state,
        retried.apply((4,)).get(),
        ignore.apply().state,
    ]
    return made | {"ignored": ignored.state, "published": published()}
