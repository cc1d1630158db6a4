"""An application with middleware: every hook leaves its trace in the file that `HOOKED_LEDGER` names."""

import asyncio
import os
import sys
import threading
import time

from shop import note

from greenq import GreenQ, Middleware

LEDGER = os.environ["HOOKED_LEDGER"]
HARD = None if os.environ.get("SHOP_NO_LIMITS") else 0.5


class Traces(Middleware):
    def __init__(self, name="yaml"):
        self.name = name

    def before_run(self, request):
        note(LEDGER, f"{request.id} before {self.name} {where()}")

    def after_run(self, request, value, error):
        note(LEDGER, f"{request.id} after {self.name} {where()} {value} {type(error).__name__}")


class Breaks(Middleware):
    def before_run(self, request):
        raise KeyError("before")

    def after_run(self, request, value, error):
        raise SystemExit("after")


class Slow(Middleware):
    """What it releases takes longer than a limit's look."""

    def after_run(self, request, value, error):
        if error is not None:
            time.sleep(0.4)
            note(LEDGER, f"{request.id} released")


def where():
    return threading.get_ident()


app = GreenQ("hooked", middleware=[Traces("code"), Breaks, Slow()])


@app.task(name="hooked.here")
def here():
    return where()


@app.task(name="hooked.fails")
def fails():
    raise ValueError("no")


@app.task(name="hooked.retried", bind=True, max_retries=1)
def retried(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return "again"


@app.task(name="hooked.coroutine")
async def coroutine():
    await asyncio.sleep(0.01)
    return "awaited"


@app.task(name="hooked.soft", soft_time_limit=0.4)
def soft():
    while True:
        time.sleep(0.02)


@app.task(name="hooked.hard", time_limit=HARD)
def hard():
    while True:
        time.sleep(0.02)


@app.task(name="hooked.frames")
def frames():
    """The modules of the frames between the pool and the function, innermost first."""
    frame = sys._getframe(1)
    above = []
    while frame is not None and not frame.f_globals["__name__"].startswith("pools."):
        above.append(frame.f_globals["__name__"])
        frame = frame.f_back
    return above
