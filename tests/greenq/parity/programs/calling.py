"""Calls with each of their options."""
# ruff: noqa: F821 - app and log are given to it

import threading
import time
from datetime import UTC, datetime, timedelta

steps = {progress: threading.Event() for progress in (10, 50, 90)}


@app.task
def add(x, y=0):
    return x + y


@app.task(bind=True)
def told(self, *args, **kwargs):
    request = self.request
    return [request.argsrepr, request.kwargsrepr, request.shadow, request.get("origin") is None]


@app.task(bind=True)
def hello(self, a, b):
    for progress, heard in steps.items():
        self.update_state(state="PROGRESS", meta={"progress": progress})
        assert heard.wait(60)
    return f"hello world: {a + b}"


@app.task(typing=False)
def unchecked(x, y):
    return x + y


@app.task(ignore_result=True)
def unnoticed(x):
    return x


@app.task(serializer="yaml", compression="zlib")
def encoded(value):
    return value


@app.task(bind=True)
def by(self):
    info = self.request.delivery_info
    return [
        info["routing_key"],
        info["priority"],
        self.request.get("periodic_task_name"),
        self.request.headers,
    ]


@app.task(bind=True)
def family(self):
    return [self.request.root_id, self.request.parent_id, self.request.group, self.request.group_index]


@app.task(expires=600, priority=3)
def declared():
    return declared.request.expires is not None, declared.request.delivery_info["priority"]


def raised(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except TypeError:
        return "TypeError"


def heard():
    """The states that are told to who waits; the task goes on once each was heard."""
    messages, result = [], hello.delay(1, 1)

    def on_message(message):
        told = [message["status"], message["result"]]
        if message["task_id"] != result.id:
            return  # Celery tells of all results that this process waits for
        if told[0] == "PROGRESS":
            steps[told[1]["progress"]].set()
        if told not in messages and told != ["PROGRESS", {"progress": 10}]:
            messages.append(told)

    while result.state != "PROGRESS":
        time.sleep(0.01)
    steps[10].set()
    return [result.get(timeout=60, on_message=on_message, interval=0.05), messages]


def main():
    now = datetime.now(UTC)
    pairs = [add.s(i, i) for i in range(3)]
    called = []
    made = {
        "delay": add.delay(1, y=2),
        "apply_async": add.apply_async((1,), {"y": 2}),
        "list of arguments": add.apply_async(args=[1, 2], kwargs={}),
        "without arguments": by.apply_async(),
        "called": add(2, 2),
        "by name": app.send_task("calling.add", args=(2,), kwargs={"y": 3}),
        "of a signature": add.s(2, y=4).apply_async(),
        "countdown": add.apply_async((1, 1), countdown=0.1),
        "eta": add.apply_async((1, 2), eta=now + timedelta(seconds=0.1)),
        "eta of another zone": add.apply_async((1, 2), eta=now.astimezone() - timedelta(seconds=5)),
        "expires in time": add.apply_async((1, 3), expires=60),
        "expires at a date": add.apply_async((1, 4), expires=now + timedelta(days=1)),
        "expired at a date": add.apply_async((1, 4), expires=now - timedelta(days=1)),
        "both": add.apply_async((1, 5), countdown=0.1, expires=60),
        "task id": add.apply_async((1, 6), task_id="an-id-of-my-own"),
        "wrong arguments": [
            raised(add.delay),
            raised(add.delay, 1, 2, 3),
            raised(add.apply_async, (1,), {"z": 1}),
            raised(add),
        ],
        "unchecked": unchecked.delay(1),
        "serializers": [
            add.apply_async((1, 1), serializer=name).get(timeout=60)
            for name in ("json", "yaml", "msgpack", "pickle")
        ],
        "a pickled tuple": encoded.apply_async(((1, 2),), serializer="pickle"),
        "compressions": [
            add.apply_async((1, 1), compression=name).get(timeout=60)
            for name in ("gzip", "zlib", "bzip2", "lzma", "brotli", "zstd")
        ],
        "of the task": encoded.delay({"a": [1, {"b": None}]}),
        "ignored by the call": add.apply_async((1, 1), ignore_result=True).get(),
        "kept by the call": unnoticed.apply_async((5,), ignore_result=False),
        "secret": told.apply_async(("1234",), {"card": "5"}, argsrepr="(<secret>,)", kwargsrepr="{}"),
        "not secret": told.apply_async((1, "a"), {"b": [None]}),
        "shadow": told.apply_async(shadow="something.else"),
        "headers": by.apply_async(headers={"periodic_task_name": "each night"}),
        "priority": by.apply_async(priority=7),
        "queue": by.apply_async(queue="celery"),
        "declared": declared.delay(),
        "family": family.apply_async(root_id="the-root", parent_id="the-parent", group_id="g", group_index=4),
        "link": add.apply_async((2, 2), link=add.s(16).set(task_id="the-link")),
        "links": add.apply_async(
            (2, 2), link=[add.s(1).set(task_id="link-1"), add.s(2).set(task_id="link-2")]
        ),
        "many": [result.get(timeout=60) for result in [sig.apply_async() for sig in pairs]],
        "operational error": issubclass(add.OperationalError, Exception),
        "on message": heard(),
    }
    made["callback"] = [
        made["delay"].get(timeout=60, callback=lambda id, value: called.append([id, value])),
        called,
    ]
    for sent in ("the-link", "link-1", "link-2"):
        made[sent] = app.AsyncResult(sent)
    return made


def after(results):
    result = results["unchecked"]
    linked = results["link"]
    return {
        "state": [result.state, result.status, result.ready(), result.failed(), result.successful()],
        "no raise": str(result.get(propagate=False)),
        "raise": raised(result.get),
        "info": [str(result.info), str(result.result), type(result.result).__name__],
        "children": [child.get(timeout=60) for child in linked.children],
        "dates": results["delay"].date_done is not None,
        "told": [
            results["delay"].id == str(results["delay"]),
            results["delay"] == app.AsyncResult(results["delay"].id),
        ],
        "unknown": [app.AsyncResult("nobody").state, app.AsyncResult("nobody").result],
        "forgotten": forgotten(results["apply_async"]),
    }


def forgotten(result):
    result.forget()
    return app.AsyncResult(result.id).state
