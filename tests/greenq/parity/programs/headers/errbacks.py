"""Errbacks of chords, where the application lets them be linked to the members of headers too."""
# ruff: noqa: F821 - app and log are given to it

import threading
import time

from celery import chord, group

lock = threading.Lock()


@app.task
def add(x, y=0):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(*args):
    raise ValueError(*args)


@app.task
def noted(what):
    with lock:
        log.append(what)


def failed_with(flow):
    result = flow.apply_async()
    error = result.get(timeout=60, propagate=False)
    return [result.state, type(error).__name__]


def waited(count):
    end = time.monotonic() + 60
    while len(log) < count and time.monotonic() < end:
        time.sleep(0.05)


def links(sig):
    # Celery links one to the body of a chord in a header twice.
    return [[each.args, each.immutable] for each in sig.options["link_error"][:1]]


def flow(*members):
    return chord(list(members), total.s())


def main():
    members = flow(add.s(1, 1), fail.s("a"), fail.s("b"))
    members.link_error(noted.si("member or body"))
    body = chord([add.s(1, 1)], fail.s())
    body.link_error(noted.si("body"))
    given = flow(fail.s("c"), add.s(1, 1))
    nested = flow(add.s(1, 1), flow(add.s(2, 2), add.s(3, 3)))
    errback = noted.s("nested")
    returned = nested.link_error(errback)
    inner = nested.tasks[1]
    grouped = flow(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3))
    grouped.link_error(noted.s("grouped"))
    made = {
        "members and body": failed_with(members),
        "body only": failed_with(body),
        "given with the call": failed_with_link(given),
        "links": [links(sig) for sig in (nested.tasks[0], nested.body, *inner.tasks, inner.body)],
        "links of a group": [links(sig) for sig in (*grouped.tasks[0].tasks, grouped.tasks[1], grouped.body)],
        "returned": [returned == errback, returned.immutable],
    }
    waited(5)
    add.delay(0, 0).get(timeout=60)
    log.sort()
    return made


def failed_with_link(flow):
    result = flow.apply_async(link_error=[noted.si("given")])
    error = result.get(timeout=60, propagate=False)
    return [result.state, type(error).__name__]
