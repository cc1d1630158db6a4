"""Results that are stored with all about their calls."""
# ruff: noqa: F821 - app and log are given to it

from celery import chain, chord, group


@app.task
def add(x, y=0):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(x):
    raise ValueError(x)


@app.task(bind=True, default_retry_delay=0)
def retried(self, x):
    if self.request.retries < 2:
        raise self.retry()
    return x


@app.task(bind=True, track_started=True)
def about(self):
    result = self.AsyncResult(self.request.id)
    return [result.state, result.name, list(result.args), result.kwargs, result.retries, result.queue]


def main():
    return {
        "arguments": add.delay(1, y=2),
        "failure": fail.delay("x"),
        "retried": retried.delay(5),
        "while it runs": about.delay(),
        "shadow": add.apply_async((1, 2), shadow="another.name"),
        "headers": add.apply_async((1, 2), headers={"tenant": "acme"}),
        "expired": add.apply_async((1, 2), expires=-1),
        "chain": chain(add.s(1, 1), add.s(2)).apply_async(),
        "group": group(add.s(1, 1), add.s(2, 2)).apply_async(),
        "chord": chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(),
        "map": add.map([1, 2]).apply_async(),
        "starmap": add.starmap([(1, 2)]).apply_async(),
    }


def after(results):
    result = results["arguments"]
    return {
        "asked": [
            result.name,
            list(result.args),
            result.kwargs,
            result.retries,
            result.queue,
            result.worker is not None,
        ],
        "of the retried": results["retried"].retries,
    }
