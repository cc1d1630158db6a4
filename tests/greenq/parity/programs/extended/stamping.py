"""Stamps, those of visitors too, and where they can be seen."""
# ruff: noqa: F821 - app and log are given to it

from celery import chain, chord, group, signature
from celery.canvas import StampingVisitor


@app.task
def add(x, y=0):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True)
def stamps(self, *args):
    return [sorted(self.request.stamped_headers or []), self.request.stamps]


@app.task(bind=True, default_retry_delay=0)
def retried(self):
    if self.request.retries == 0:
        raise self.retry()
    return [sorted(self.request.stamped_headers or []), self.request.stamps]


@app.task(bind=True)
def replaced(self):
    raise self.replace(stamps.s())


class InGroup(StampingVisitor):
    def __init__(self):
        self.in_group = False

    def on_group_start(self, group, **headers):
        self.in_group = True
        return {"in_group": [self.in_group], "stamped_headers": ["in_group"]}

    def on_group_end(self, group, **headers):
        self.in_group = False

    def on_chain_start(self, chain, **headers):
        return {"in_group": [self.in_group], "stamped_headers": ["in_group"]}

    def on_signature(self, sig, **headers):
        return {"in_group": [self.in_group], "stamped_headers": ["in_group"]}


class Monitored(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"monitoring_id": sig.task}


class Some(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"seen": 1, "unseen": 2, "stamped_headers": ["seen"]}


class Everything(StampingVisitor):
    def on_signature(self, sig, **headers):
        return {"header": "value"}

    def on_callback(self, callback, **header):
        return {"on_callback": True}

    def on_errback(self, errback, **header):
        return {"on_errback": True}


def plain(options):
    """Options without what Celery repeats in lists."""
    return {key: sorted(set(each)) if isinstance(each, list) else each for key, each in options.items()}


def stamped(sig, visitor=None, **headers):
    sig.stamp(visitor, **headers)
    return sig


def main():
    grouped = group(add.si(2, 2), add.si(3, 3))
    grouped.stamp(stamp="your_custom_stamp")
    linked = chord([add.s(1, 1), add.s(2, 2)], total.s())
    linked.link(signature("sig_link"))
    linked.link_error(signature("sig_link_error"))
    linked.stamp(visitor=Everything())
    callback = stamps.s().set(task_id="the-stamped-callback")
    calling = add.s(1, 1)
    calling.link(callback)
    made = {
        "group": grouped.apply_async(),
        "one": stamped(stamps.s(), tenant="acme").delay(),
        "list": stamped(stamps.s(), tags=["a", "b"]).delay(),
        "twice": stamped(stamped(stamps.s(), one=1), two=2).delay(),
        "chain": stamped(chain(add.s(1, 1), stamps.s()), tenant="acme").apply_async(),
        "chord": stamped(chord([add.s(1, 1), add.s(2, 2)], stamps.s()), tenant="acme").apply_async(),
        "retried": stamped(retried.s(), tenant="acme").apply_async(),
        "replaced": stamped(replaced.s(), tenant="acme").apply_async(),
        "callback": stamped(calling, tenant="acme").apply_async(),
        "monitored": stamped(chain(stamps.s(), stamps.s()), Monitored()).apply_async(),
        "some": stamped(stamps.s(), Some()).options["stamped_headers"],
        "in a group": [plain(each.options) for each in stamped(group(add.s(1), add.s(2)), InGroup()).tasks],
        "in a chain": [plain(each.options) for each in stamped(chain(add.s(1), add.s(2)), InGroup()).tasks],
        "of a chord": plain(linked.options),
        "of members": [plain(each.options) for each in getattr(linked.tasks, "tasks", linked.tasks)],
        "of the body": plain(
            {k: v for k, v in linked.body.options.items() if k not in ("link", "link_error")}
        ),
        "of callbacks": plain(linked.body.options["link"][0]["options"]),
        "of errbacks": plain(linked.body.options["link_error"][0]["options"]),
    }
    made["callback"].get(timeout=60)
    made["the callback"] = app.AsyncResult("the-stamped-callback")
    return made
