"""Failures in workflows: what fails with them, and errbacks in all their forms."""
# ruff: noqa: F821 - app and log are given to it

import threading
import time

from celery import chain, chord, group

lock = threading.Lock()


class HttpError(Exception):
    def __init__(self, status, headers=None):
        self.status = status
        self.headers = headers
        super().__init__(status, headers)


class Careless(Exception):
    def __init__(self, status):
        self.status = status


def note(*what):
    with lock:
        log.append(list(what))


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
def fail_with(kind):
    raise {"http": HttpError(404, {"a": 1}), "careless": Careless(5), "type": TypeError(), "chained": None}[
        kind
    ]


@app.task
def fail_from(x):
    try:
        return {}[x]
    except KeyError as error:
        raise RuntimeError("from another") from error


@app.task
def unserialisable():
    return object()


@app.task
def told(request, exc, traceback):
    note("told", request.id, type(exc).__name__, exc.args, str(traceback).strip().splitlines()[-1:])


@app.task
def told_more(request, exc, traceback, extra, by=None):
    note("told more", request.id, request.args, request.task, extra, by)


@app.task
def sent(task_id):
    note("sent", task_id)


@app.task(bind=True)
def bound(self, task_id):
    note("bound", task_id, self.request.parent_id == task_id)


@app.task(bind=True)
def bound_with_three(self, *args):
    note("bound with three", len(args), args[0])


@app.task
def final():
    note("final")


@app.task
def of_a_chord(request, exc, traceback):
    note("of a chord", request.id, type(exc).__name__)


@app.task
def heard(value):
    note("heard", value)


def waited(count):
    deadline = time.monotonic() + 60
    while len(log) < count:
        assert time.monotonic() < deadline, f"{len(log)} of {count}: {log}"
        time.sleep(0.02)


def failed_with(result):
    """Its exception without the ids in its text."""
    found = result.get(timeout=60, propagate=False)
    return [result.state, type(found).__name__, result.traceback is not None]


def main():
    made = {
        # ── what fails
        "arguments": fail_with.delay("http"),
        "careless": told_type(fail_with.delay("careless")),
        "empty": fail_with.delay("type"),
        "cause": fail_from.delay("x"),
        "unserialisable": told_type(unserialisable.delay()),
        # ── errbacks
        "told": fail.apply_async(("a",), link_error=told.s()),
        "told more": fail.apply_async(("b",), link_error=told_more.s("extra", by="me")),
        "sent": fail.apply_async(("c",), link_error=sent.s()),
        "bound": fail.apply_async(("d",), link_error=bound.s()),
        "bound with three": fail.apply_async(("d",), link_error=bound_with_three.s()),
        "final": fail.apply_async(("e",), link_error=final.si()),
        "list": fail.apply_async(("f",), link=heard.s(), link_error=[told.s(), sent.s()]),
        "on_error": fail.s("g").on_error(sent.s()).delay(),
        "good": add.apply_async((1, 1), link=heard.s(), link_error=sent.s()),
        # ── chains
        "chain": chain(add.s(1, 1), fail.s(), add.s(2), add.s(3)).apply_async(),
        "chain's errback": chain(fail.s("h"), add.s(2)).apply_async(link_error=sent.s()),
        "link's errback": chain(add.s(1, 1), fail.s().on_error(told.s()), add.s(3)).apply_async(),
        # ── groups
        "group": group(fail.s("i"), add.s(1, 1)).apply_async(),
        "group's errback": grouped(),
        # ── chords
        "chord": failed_with(chord([add.s(4, 4), fail.s("j"), add.s(8, 8)])(total.s())),
        "chord's errback": failed_with(
            (group(add.s(1, 1), fail.s("k")) | total.s().on_error(of_a_chord.s())).delay()
        ),
        "chord's sent errback": failed_with(
            chord([add.s(1, 1), fail.s("l")], total.s().on_error(sent.s())).apply_async()
        ),
        "body fails": failed_with(chord([add.s(1, 1)], fail.s().on_error(of_a_chord.s())).apply_async()),
        "after a chord": failed_with((group(add.s(1, 1), fail.s("m")) | total.s() | add.s(1)).delay()),
        "early in a member": failed_with(
            chord([fail.s("o") | add.s(1), add.s(1, 1)], total.s()).apply_async()
        ),
        "expired in a chord": failed_with(
            chord([add.s(1, 1).set(expires=-5), add.s(1, 1)], total.s()).apply_async()
        ),
        "linked to a chord": linked_chord(),
    }
    waited(18)
    made["last"] = add.delay(0, 0)
    made["last"].get(timeout=60)
    log.sort(key=lambda entry: (entry[0], str(entry[2:])))
    return made


def grouped():
    flow = group(fail.s("p"), fail.s("q"), add.s(1, 1))
    flow.link_error(sent.s())
    return flow()


def linked_chord():
    flow = chord([add.s(1, 1), add.s(2, 2)], total.s())
    flow.link(heard.s())
    flow.link_error(sent.s())
    return flow.apply_async()


def told_type(result):
    found = result.get(timeout=60, propagate=False)
    return [result.state, isinstance(found, Exception)]


def after(results):
    chained, grouped = results["chain"], results["group"]
    return {
        "chain's parents": [each.state for each in (chained.parent, chained.parent.parent)],
        "members": [grouped.ready(), grouped.failed(), grouped.successful(), grouped.completed_count()],
        "values": [str(value) for value in grouped.get(propagate=False)],
        "joined": [str(value) for value in grouped.join(propagate=False)],
        "raised": raised(grouped.get),
        "of a member": raised(grouped[0].get),
        "of a chain": raised(chained.get),
        "maybe thrown": raised(chained.maybe_throw),
    }


def raised(call):
    try:
        return call()
    except ValueError as error:
        return [type(error).__name__, error.args]
