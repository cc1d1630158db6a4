"""What a running task can ask about its call."""
# ruff: noqa: F821 - app and log are given to it

FIELDS = (
    "args", "callbacks", "called_directly", "chain", "chord", "correlation_id", "errbacks", "eta", "expires",
    "group", "group_index", "headers", "id", "ignore_result", "is_eager", "kwargs", "parent_id",
    "replaced_task_nesting", "retries", "root_id", "shadow", "soft_time_limit", "stamped_headers", "stamps",
    "task", "taskset", "time_limit", "timelimit",
)  # fmt: skip


def about(request):
    told = {name: getattr(request, name, None) for name in FIELDS}
    told["eta"] = told["eta"] and "a time"
    told["expires"] = told["expires"] and "a time"
    return told


@app.task(bind=True)
def ask(self, *args, **kwargs):
    info = self.request.delivery_info
    told = about(self.request)
    told["delivery"] = [info["exchange"], info["routing_key"], info["priority"], info["redelivered"]]
    told["hostname"] = self.request.hostname
    told["asked by"] = self.request.reply_to == "somebody"
    told["tenant"] = self.request.get("tenant"), self.request.get("nothing", "else")
    return told


@app.task(bind=True)
def parent(self):
    child = ask.delay("a child")
    ask.apply_async(add_to_parent=False)
    return [child.id, [result.id for result in self.request.children]]


@app.task
def reached(way):
    return way


@app.task(bind=True)
def directly(self):
    return about(ask.request) | {"id": ask.request.id}


@app.task(bind=True, trail=False)
def without_trail(self):
    ask.delay()
    return len(self.request.children)


@app.task(bind=True)
def eagerly(self, x):
    return [
        self.request.is_eager,
        self.request.called_directly,
        self.request.retries,
        list(self.request.args),
    ]


def main():
    told = about(ask.request)
    made = {
        "outside": {name: told[name] for name in ("id", "called_directly", "retries", "headers")},
        "plain": ask.delay(1, x=2),
        "with options": ask.apply_async(
            ("a",), {"k": None}, headers={"tenant": "ann", "n": 1}, expires=600, shadow="ask.again",
            time_limit=100, soft_time_limit=90, reply_to="somebody",
        ),
        "by a key": reached.apply_async(("by a key",), exchange="celery", routing_key="celery"),
        "later": ask.apply_async(countdown=0.2),
        "parent": parent.delay(),
        "without trail": without_trail.delay(),
        "eager": eagerly.apply((7,)).get(),
    }  # fmt: skip
    assert made["parent"].get(timeout=60)
    made["children"] = [child.id for child in made["parent"].children]
    return made
