"""An application whose class of tasks and whose receivers tell the file that `BEHAVING_LEDGER` names."""

import asyncio
import os
import time

from shop import note

from greenq import GreenQ, Snooze, Task, signals

LEDGER = os.environ["BEHAVING_LEDGER"]
HARD = None if os.environ.get("SHOP_NO_LIMITS") else 0.5

app = GreenQ("behaving")


def count(id, event):
    """How often it was told of a task."""
    with open(LEDGER) as file:
        return len([line for line in file if line.startswith(f"{id} {event}")])


class Told(Task):
    def before_start(self, task_id, args, kwargs):
        note(LEDGER, f"{task_id} before_start {self.request.id == task_id} {self.shade()}")

    def on_success(self, retval, task_id, args, kwargs):
        note(LEDGER, f"{task_id} on_success {retval} {self.request.id == task_id}")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(LEDGER, f"{task_id} on_failure {type(exc).__name__} {self.request.id == task_id}")
        raise RuntimeError("a hook that fails")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note(LEDGER, f"{task_id} on_retry {type(exc).__name__}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(LEDGER, f"{task_id} after_return {status}")

    def shade(self):
        return "dark"


class Calling(Told):
    def __call__(self, *args, **kwargs):
        note(LEDGER, f"{self.request.id} __call__ {self.request.called_directly}")
        return super().__call__(*args, **kwargs)


@app.task(base=Told)
def well(x):
    return x


@app.task(base=Told)
def badly():
    raise ValueError("bad")


@app.task(base=Calling, bind=True)
def called(self, x):
    return [x, self.request.called_directly, called.shade()]


@app.task(base=Calling)
async def awaited(x):
    await asyncio.sleep(0)
    return x


@app.task(base=Told, bind=True)
def retried(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0, exc=KeyError("once more"))
    return "in the end"


@app.task(base=Told, time_limit=HARD)
def hard():
    time.sleep(30)


@app.task(base=Told)
def unstorable():
    return object()


@app.task(base=Told)
def die():
    if not os.path.exists(f"{LEDGER}-died"):
        note(f"{LEDGER}-died", "here")
        os._exit(9)
    return "second time"


@app.task(bind=True)
def snoozing(self, times):
    tries = self.step("first", note, LEDGER, f"{self.request.id} stepped")
    before = count(self.request.id, "snoozing")
    note(LEDGER, f"{self.request.id} snoozing")
    if before < times:
        raise Snooze(0.05)
    return [tries, before, self.request.retries]


@app.task(bind=True, acks_late=False)
def snoozing_early(self):
    before = count(self.request.id, "early")
    note(LEDGER, f"{self.request.id} early")
    if before < 2:
        raise Snooze(0.05)
    return before


@app.task(bind=True, max_retries=3)
def stepping(self, how):
    def work(name):
        note(LEDGER, f"{self.request.id} step {name}")
        return (name, 1)

    first = self.step("first", work, "first")
    if how == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0)
    second = self.step("second/with a strange name", work, name="second")
    if how == "die" and not os.path.exists(f"{LEDGER}-stepped"):
        note(f"{LEDGER}-stepped", "here")
        os._exit(9)
    return [first, second, self.step("first", work, "never")]


@app.task(bind=True)
async def stepping_async(self):
    async def work(x):
        note(LEDGER, f"{self.request.id} step async")
        return x + 1

    return [await self.step("one", work, 1), await self.step("one", work, 5)]


def listen(signal, *names, key=None):
    def receiver(sender, **kwargs):
        who = kwargs.get("task_id") or (kwargs[key].id if key else getattr(sender, "node", sender))
        note(LEDGER, f"{who} {signal} {' '.join(str(kwargs[name]) for name in names)}".strip())

    getattr(signals, signal).connect(receiver, weak=False)


listen("task_prerun")
listen("task_postrun", "state")
listen("task_failure")
listen("task_received", key="request")
listen("task_revoked", "expired", key="request")
listen("task_internal_error")
listen("worker_init")
listen("worker_process_init")
listen("worker_ready")
listen("worker_shutting_down", "sig", "how")
listen("worker_process_shutdown")
listen("worker_shutdown")
listen("celeryd_init")
listen("celeryd_after_setup")


@signals.task_unknown.connect
def unknown(sender, name, id, **kwargs):
    note(LEDGER, f"{id} task_unknown {name}")


@signals.task_received.connect
def broken(sender, **kwargs):
    raise ValueError("a receiver that fails")
