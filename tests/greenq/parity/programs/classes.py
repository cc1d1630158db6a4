"""Tasks' names, classes and what their functions may raise."""
# ruff: noqa: F821 - app and log are given to it

import functools

from celery import Task
from celery.exceptions import Ignore, Reject


def doubled(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return 2 * fn(*args, **kwargs)

    return inner


class Cached(Task):
    _connection = None
    made = 0

    @property
    def connection(self):
        if self._connection is None:
            type(self).made += 1
            self._connection = ["open"]
        return self._connection


class Patient(Task):
    autoretry_for = (TypeError,)
    max_retries = 2
    default_retry_delay = 0
    retry_backoff = False


@app.task(name="sum-of-two-numbers")
def add(x, y):
    """Add two numbers."""
    return x + y


@app.task
@doubled
def decorated(x):
    return x


@app.task()
def with_parentheses():
    return with_parentheses.name


@app.task(base=Cached, bind=True)
def cached(self):
    self.connection.append("used")
    return [self.connection, self.made]


@app.task(base=Cached, bind=True)
def cached_too(self):
    return [self.connection, self.name]


@app.task(base=Patient, bind=True)
def patient(self):
    if self.request.retries < 2:
        raise TypeError
    return self.request.retries


@app.task(base=Patient, bind=True, max_retries=0)
def impatient(self):
    raise TypeError(self.request.retries)


@app.task(bind=True)
def by_hand(self, value):
    if not self.request.called_directly:
        self.update_state(state="SUCCESS", meta=value)
    raise Ignore


@app.task(bind=True, acks_late=True)
def requeued(self):
    if not self.request.delivery_info["redelivered"]:
        log.append("once")
        raise Reject("no reason", requeue=True)
    log.append("twice")
    return "received two times"


@app.task(bind=True, default_retry_delay=0)
def unthrown(self):
    if self.request.retries == 0:
        self.retry(throw=False, countdown=0.3)
        log.append("went on")
        raise Ignore
    return "the second one"


@app.task(bind=True, default_retry_delay=0)
def reason_as_text(self):
    try:
        raise self.retry(exc=KeyError("why"), max_retries=0)
    except KeyError as error:
        return repr(error)


@app.task(bind=True)
def about_itself(self):
    return [
        self.name,
        self.max_retries,
        self.default_retry_delay,
        self.app.main,
        self.request.task,
        self.AsyncResult(self.request.id).state,
    ]


@app.task
def sends():
    return [add.delay(1, 1).id, app.send_task("sum-of-two-numbers", (2, 2)).id]


class Declaring(Task):
    throws = (KeyError,)
    expires = 600
    ignore_result = True


@app.task(bind=True, base=Declaring, ignore_result=False, max_retries=7, track_started=True)
def options_of_its_own(self):
    names = (
        "ignore_result", "max_retries", "track_started", "expires", "default_retry_delay", "acks_late",
        "trail", "serializer", "store_errors_even_if_ignored", "time_limit", "soft_time_limit",
        "rate_limit", "typing",
    )  # fmt: skip
    return [*(getattr(self, name) for name in names), [error.__name__ for error in self.throws]]


def main():
    made = {
        "names": [add.name, decorated.name, with_parentheses.name, cached.name],
        "registered": [name in app.tasks for name in ("sum-of-two-numbers", "classes.add", "classes.cached")],
        "the same": app.tasks["sum-of-two-numbers"].name == add.name,
        "written": [add.__name__, add.__doc__, decorated.__name__],
        "called": [add(1, 2), decorated(4), add.run(1, 2)],
        "by name": app.send_task("sum-of-two-numbers", (1, 2)),
        "decorated": decorated.delay(4),
        "parentheses": with_parentheses.delay(),
        "once": cached.delay(),
        "again": cached.delay(),
        "not shared": cached_too.delay(),
        "inherited": patient.delay(),
        "overridden": impatient.delay(),
        "by hand": by_hand.delay({"a": 1}),
        "requeued": requeued.delay(),
        "unthrown": unthrown.delay(),
        "reason": reason_as_text.delay(),
        "about itself": about_itself.delay(),
        "options": options_of_its_own.delay(),
        "is a task": [isinstance(add, Task), isinstance(cached, Cached), issubclass(Cached, Task)],
        "sends": sends.delay(),
    }
    for name in ("requeued", "unthrown"):
        made[name].get(timeout=60)
    made["sends"].get(timeout=60)
    made["trail"] = [child.get(timeout=60) for child in made["sends"].children]
    log.sort()
    return made
