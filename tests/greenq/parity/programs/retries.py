"""Retries in all their forms."""
# ruff: noqa: F821 - app and log are given to it

from celery.exceptions import MaxRetriesExceededError  # an import


class Busy(Exception):
    pass


@app.task(bind=True, default_retry_delay=0)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(exc=Busy(self.request.retries))
    return self.request.retries


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def hopeless(self):
    raise self.retry(exc=Busy("still"))


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def hopeless_without_reason(self):
    raise self.retry()


@app.task(bind=True, max_retries=0)
def once(self):
    try:
        raise self.retry(countdown=0)
    except MaxRetriesExceededError:
        return "given up"


@app.task(bind=True)
def other_arguments(self, x, y=0):
    if self.request.retries == 0:
        raise self.retry(args=(x + 1,), kwargs={"y": 7}, countdown=0)
    return [x, y, list(self.request.args), self.request.kwargs]


@app.task(bind=True)
def one_argument(self, x, y=0, z=0):
    if self.request.retries == 0:
        raise self.retry(kwargs={"x": 9}, countdown=0)
    return [x, y, z]


@app.task(bind=True, max_retries=1)
def more_for_this_run(self):
    if self.request.retries < 3:
        raise self.retry(max_retries=5, countdown=0)
    return self.request.retries


@app.task(bind=True, max_retries=None, default_retry_delay=0)
def for_ever(self):
    if self.request.retries < 6:
        raise self.retry()
    return self.request.retries


@app.task(autoretry_for=(Busy,), max_retries=2, default_retry_delay=0)
def automatic(log_to):
    raise Busy(log_to)


@app.task(bind=True, autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), default_retry_delay=0)
def automatic_but_not(self):
    if self.request.retries == 0:
        raise Busy
    raise KeyError(self.request.retries)


@app.task(bind=True, autoretry_for=(Busy,), retry_kwargs={"max_retries": 1, "countdown": 0})
def automatic_by_kwargs(self):
    raise Busy(self.request.retries)


@app.task(bind=True, default_retry_delay=0)
def headers_stay(self):
    if self.request.retries == 0:
        raise self.retry()
    return [self.request.headers, self.request.get("tenant"), self.request.root_id == self.request.id]


@app.task
def after_a_retry_by_others():
    try:
        flaky(1)
    except Busy as error:
        return ["called like a function", repr(error)]


def main():
    return {
        "flaky": flaky.delay(2),
        "hopeless": hopeless.delay(),
        "hopeless without reason": told_shortly(hopeless_without_reason.delay()),
        "once": once.delay(),
        "other arguments": other_arguments.delay(1),
        "one argument": one_argument.delay(1, 2),
        "more for this run": more_for_this_run.delay(),
        "for ever": for_ever.delay(),
        "automatic": automatic.delay("x"),
        "automatic but not": automatic_but_not.delay(),
        "automatic by kwargs": automatic_by_kwargs.delay(),
        "headers": headers_stay.apply_async(headers={"tenant": "ann"}),
        "directly": after_a_retry_by_others.delay(),
        "eager": [flaky.apply((2,)).get(), hopeless.apply().state, for_ever.apply().get()],
    }


def told_shortly(result):
    """Its message differs: only its type counts."""
    try:
        result.get(timeout=30)
    except MaxRetriesExceededError:
        return "used up"
