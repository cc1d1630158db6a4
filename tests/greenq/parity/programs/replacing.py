"""Tasks that put others in their place, and calls with many arguments."""
# ruff: noqa: F821 - app and log are given to it

from celery import chain, chord, group


@app.task
def add(x, y):
    log.append(["add", x, y])
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def in_order(numbers):
    return sorted(map(repr, numbers))


@app.task
def double(x):
    return 2 * x


@app.task(bind=True)
def by_one(self, x):
    raise self.replace(add.s(x, 100))


@app.task(bind=True)
def by_a_chain(self, x):
    return self.replace(chain(add.s(x, 1), double.s()))


@app.task(bind=True)
def by_a_group(self, x):
    raise self.replace(group(add.s(x, n) for n in range(3)))


@app.task(bind=True)
def twice(self, x):
    if self.request.replaced_task_nesting < 2:
        raise self.replace(twice.s(x + 1))
    return [x, self.request.replaced_task_nesting, self.request.id == self.request.root_id]


@app.task(bind=True)
def grow(self, x):
    if x == 1:
        self.add_to_chord(add.s(20, 1))
        raise self.replace(group(add.s(x, 1), add.s(x, 2)))
    return x


@app.task(bind=True)
def eagerly(self, x):
    return self.replace(double.s(x))


@app.task(bind=True)
def again(self, x):
    sig = self.signature_from_request(args=(x + 1,))
    return [sig.task, list(sig.args), sig.options["task_id"] == self.request.id, sig.options["queue"]]


def main():
    made = {
        "by one": by_one.delay(1),
        "by a chain": by_a_chain.delay(1),
        "by a group": by_a_group.delay(10),
        "in a chain": chain(add.s(1, 1), by_one.s(), double.s())(),
        "in a chord": chord([grow.s(1), by_one.s(2), add.s(5, 5)])(in_order.s()),
        "twice": twice.delay(0),
        "map": double.map([1, 2, 3]).apply_async(),
        "starmap": add.starmap([(1, 2), (3, 4)]).apply_async(),
        "linked": by_one.apply_async((7,), link=double.s().set(task_id="the-linked-one")),
        "again": again.delay(1),
        "eager": eagerly.apply((4,)).get(),
    }
    for name in ("by one", "by a chain", "by a group", "in a chain", "in a chord", "twice", "linked"):
        made[name].get(timeout=60)
    log.sort()
    return made | {"what was linked": app.AsyncResult("the-linked-one")}
