"""States of one's own, progress, and tasks that can be asked to stop."""
# ruff: noqa: F821 - app and log are given to it

import threading
import time

from celery.contrib.abortable import AbortableTask

go_on = threading.Event()


@app.task(bind=True)
def work(self):
    self.update_state(state="PROGRESS", meta={"current": 3, "total": 10})
    log.append([self.AsyncResult(self.request.id).state, self.AsyncResult(self.request.id).info])
    self.update_state(state="MY OWN", meta=["anything", 1])
    log.append([self.AsyncResult(self.request.id).state, self.AsyncResult(self.request.id).info])
    return "done"


@app.task(bind=True, track_started=True)
def failing(self):
    info = self.AsyncResult(self.request.id).info
    log.append(sorted(info))
    self.update_state(state="PROGRESS", meta={"current": 1})
    raise ValueError("in the middle")


@app.task(bind=True, base=AbortableTask)
def sweep(self):
    log.append(["aborted at first", self.is_aborted()])
    go_on.set()
    deadline = time.monotonic() + 60
    while not self.is_aborted():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return "not all of it"


@app.task(bind=True, base=AbortableTask)
def sweep_on(self):
    return self.is_aborted()


def main():
    made = {"work": work.delay(), "failing": failing.delay(), "sweep": sweep.delay()}
    assert go_on.wait(60)
    made["before"] = made["sweep"].is_aborted()
    made["sweep"].abort()
    made["sweep"].get(timeout=60)
    made["after"] = [made["sweep"].is_aborted(), made["sweep"].state]
    made["untouched"] = sweep_on.delay()
    made["of a plain function"] = work.run.__name__
    return made
