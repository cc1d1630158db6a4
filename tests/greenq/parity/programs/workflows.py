"""Canvas, from the caller's side: values, states, parents, children and saved groups."""
# ruff: noqa: F821 - app and log are given to it

from celery import chain, chord, group
from celery.result import GroupResult, ResultSet


@app.task
def add(x, y=0):
    return x + y


@app.task
def total(numbers, plus=0):
    return sum(numbers) + plus


@app.task
def heard(*args):
    log.append(["heard", list(args)])


@app.task(bind=True)
def fan_out(self, n):
    group(add.s(i, i) for i in range(n)).apply_async()
    (add.s(1, 1) | add.s(2)).apply_async()
    return n


@app.task(bind=True)
def stamps(self):
    return [sorted(self.request.stamped_headers or []), self.request.stamps]


def main():
    flow = add.s(1, 1) | group(add.s(1), add.s(2) | add.s(3)) | total.s() | add.s(10)
    stamped = stamps.s()
    stamped.stamp(tenant="acme", tags=["a"])
    return {
        "chain": chain(add.s(1, 1), add.s(2), add.s(3)).apply_async(),
        "piped": (add.s(1, 1) | add.s(2)).delay(),
        "partial": add.s(2).delay(1),
        "immutable": (add.s(1, 1) | add.si(5, 5)).delay(),
        "keywords": add.s(1).apply_async(kwargs={"y": 4}),
        "group": group(add.s(n, n) for n in range(3)).delay(),
        "called": group(add.s(1), add.s(2))(10),
        "of one": (group(add.s(1, 1)) | add.s(1)).delay(),
        "chord": chord([add.s(n, n) for n in range(4)])(total.s()),
        "plus": chord([add.s(1, 1), add.s(2, 2)])(total.s(plus=100)),
        "empty": chord([])(total.s()),
        "piped chord": (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(1)).delay(),
        "deep": flow.delay(),
        "of chains": chord([add.s(1, 1) | add.s(1), add.s(5, 5)])(total.s()),
        "two chords": (
            group(add.s(1, 1), add.s(2, 2)) | total.s() | group(add.s(1), add.s(2)) | total.s()
        ).delay(),
        "map": total.map([[1, 2], [3, 4]]).delay(),
        "starmap": add.starmap([(1, 2), (3, 4)]).delay(),
        "chunks": add.chunks([(n, n) for n in range(4)], 2).apply_async(),
        "linked": add.apply_async((1, 2), link=heard.s("callback")),
        "fan out": fan_out.delay(2),
        "stamped": stamped.delay(),
        "by name": app.signature(add.name, args=(3, 4)).delay(),
        "eager": flow.apply().get(),
        "eager group": group(add.s(1, 1), add.s(2, 2)).apply().get(),
    }


def after(results):
    fan = results["fan out"]
    whole = results["group"]
    whole.save()
    restored = app.GroupResult.restore(whole.id)
    some = ResultSet([results["chain"], results["piped"]])
    return {
        "chain's parents": [results["chain"].parent.get(), results["chain"].parent.parent.get()],
        "deep's header": results["deep"].parent.get(),
        "chord's header": results["chord"].parent.get(),
        "children": [isinstance(child, GroupResult) for child in fan.children],
        "collected": [value for _, value in fan.collect()],
        "leaf": fan.get_leaf(),
        "graph": len(fan.graph.topsort()),
        "restored": [restored.id == whole.id, restored.get(), len(restored), restored.completed_count()],
        "asked": [whole.ready(), whole.successful(), whole.failed(), whole.waiting()],
        "joined": [whole.join(), whole.join_native(), whole[1].get()],
        "set": some.get(),
        "tuple": str(whole.as_tuple()[0][0]) == whole.id,
        "signature": [add.s(1, y=2).args, add.s(1, y=2).kwargs, add.si(1).immutable, dict(add.s(1))],
    }
