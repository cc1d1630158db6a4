"""Signatures and what is made of them."""
# ruff: noqa: F821 - app and log are given to it

import json

from celery import chain, chord, group, signature
from celery.exceptions import IncompleteStream


@app.task
def add(x, y=0, debug=False):
    return [x, y] if debug else x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def subtract(x, y):
    return x - y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def nothing():
    return "nothing was given"


@app.task
def greet(*names, **more):
    return [list(names), more]


def fields(sig):
    return [sig.task, list(sig.args), sig.kwargs, sig.options, sig.immutable, sig.subtask_type]


def kind(sig):
    return type(sig).__name__.strip("_")


def incomplete():
    try:
        return list(app.AsyncResult("nobody sends it").iterdeps())
    except IncompleteStream:
        return "incomplete"


def data():
    sig = add.signature((2, 2), {"debug": True}, countdown=10)
    linked = add.s(2, 2)
    linked.link(mul.s(4))
    linked.link(mul.s(4))
    linked.link_error(nothing.si())
    eleven = [add.s(i, i) for i in range(10)]
    frozen = add.s(1, 1)
    frozen_result = frozen.freeze()
    skewed = group(eleven).skew(start=1, stop=10)
    return {
        "fields": fields(sig),
        "by name": [
            fields(signature("signatures.add", args=(2, 2), countdown=10)),
            str(app.signature("x.y", (1,))),
        ],
        "shown": [repr(add.s(2, 2)), repr(add.s(1, y=2))],
        "reprcall": add.s(1, y=2).reprcall(),
        "dict": dict(add.s(1).set(queue="q")),
        "set": fields(add.s(2, 2).set(countdown=1, priority=3)),
        "immutable by set": add.s(1).set(immutable=True).immutable,
        "clone": fields(add.s(2).clone(args=(4,), kwargs={"debug": True}, queue="q")),
        "clone of immutable": fields(add.si(2).clone(args=(4,), kwargs={"debug": True}, queue="q")),
        "replaced": fields(sig.replace(args=(1,), kwargs={}, options={"queue": "q"})),
        "linked": [[fields(each) for each in linked.options["link"]], len(linked.flatten_links())],
        "errbacks": [fields(each) for each in linked.options["link_error"]],
        "on_error": fields(add.s(1).on_error(nothing.si()))[3],
        "kinds": [
            kind(chain(add.s(1))),
            kind(add.s(1) | add.s(2)),
            kind(group(eleven) | total.s()),
            kind(group(add.s(1)) | add.s(2)),
            kind(chain(add.s(1), group(add.s(1), add.s(2)))),
            kind(chain(add.s(1), group(add.s(1), add.s(2)), total.s()).tasks[-1]),
            kind(group(eleven) | group(eleven)),
            kind(chord(eleven, total.s()) | add.s(1)),
        ],
        "lengths": [len(group(eleven)), len(group(eleven).tasks), len(chain(add.s(1), add.s(2)).tasks)],
        "skewed": [each.options.get("countdown") for each in skewed.tasks],
        "frozen": frozen_result.id == frozen.id == frozen.options["task_id"],
        "typed": add.s(1).type is app.tasks["signatures.add"],
    }


def calls():
    numbered = chain(add.s(1, 1), add.s(2).set(task_id="the-last-one"))
    reset = add.signature((2, 2), immutable=True)
    return {
        "called": [add.s(2, 2)(), add.s(2)(3), add.si(2, 2)()],
        "waited for": ~add.s(2, 2),
        "read back": signature(json.loads(json.dumps(add.s(2, y=5)))).delay(),
        "subtracted": subtract.s(10).delay(30),
        "debugged": add.s(2, 2).delay(debug=True),
        "keywords win": add.s(2, 2, debug=False).apply_async(kwargs={"debug": True}),
        "options win": add.signature((2, 2), countdown=1000).apply_async(countdown=0),
        "of a method": add.signature((2, 2)).set(countdown=0).delay(),
        "subtask": add.subtask((2, 3)).delay(),
        "immutable": reset.delay(),
        "immutable link": add.apply_async((2, 2), link=nothing.si()),
        "chain called": chain(add.s(2, 2), add.s(4), add.s(8))(),
        "partial chain": (add.s(4) | mul.s(8))(16),
        "chain of chains": (add.s(4, 16) | mul.s(2) | (add.s(4) | mul.s(8)))(),
        "independent": (add.si(2, 2) | add.si(4, 4) | add.si(8, 8))(),
        "chain of a generator": chain(add.s(n) for n in range(3))(5),
        "last id": [numbered.apply_async().id, numbered.apply_async().get(timeout=60)],
        "id of the call": (add.s(1, 1) | add.s(1)).apply_async(task_id="called-so").id,
        "options of the chain": (add.s(1, 1) | add.s(1)).apply_async(priority=3),
        "one link": chain(add.s(1, 2)).delay(),
        "graph": chain(add.s(4, 4), mul.s(8), mul.s(10))(),
        "callback of a chain": (add.s(1, 1) | add.s(1)).apply_async(
            link=add.s(5).set(task_id="after-the-chain")
        ),
    }


def workflows():
    return {
        "generator": group(add.s(i, i) for i in range(10))(),
        "fan out": (greet.s() | group(greet.s("a"), greet.s("b"))).delay(username="artv", first="Art"),
        "fan out immutable": (add.s(4, 4) | group(add.si(i, i) for i in range(4)))(),
        "unrolled": chain(add.s(2, 2), group(add.s(1)), add.s(1)).delay(),
        "not unrolled": chain(add.s(2, 2), group(add.s(1), add.s(2)), total.s()).delay(),
        "options of the group": group(add.s(1, 1), add.s(2, 2)).apply_async(priority=5),
        "group of a group": group(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)).delay(),
        "group of chains": group(add.s(1, 1) | add.s(1), add.s(2, 2) | add.s(2)).delay(),
        "skew": group(add.s(1, 1), add.s(2, 2)).skew(start=0, stop=1, step=0.1)(),
        "nobody in a chain": (add.s(1, 1) | group([]) | total.s()).delay(),
        "empty group": [group([]).apply_async().get(), group([]).apply_async().ready()],
        "saved ids": group(add.s(1, 1), add.s(2, 2)).freeze(_id="my-group").id,
        "chord called": chord(add.s(i, i) for i in range(10))(total.s()),
        "chord of a group": chord(group(add.s(1, 1), add.s(2, 2)), total.s()).delay(),
        "immutable body": chord([add.s(1, 1), add.s(2, 2)], nothing.si()).apply_async(),
        "body of a chain": chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(1) | mul.s(2)).apply_async(),
        "body of a group": chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s())).apply_async(),
        "body of a chord": chord(
            [add.s(1, 1), add.s(2, 2)], chord([total.s(), total.s()], total.s())
        ).apply_async(),
        "options of the body": chord([add.s(1, 1)], total.s().set(priority=2)).apply_async(),
        "callback of a chord": chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async(
            link=add.s(5).set(task_id="after-the-chord")
        ),
        "arguments of a chord": chord([add.s(1), add.s(2)], total.s()).apply_async((10,)),
        "member of one chord": chord(
            [chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(1, 1) | add.s(1)], total.s()
        ).apply_async(),
        "map": ~total.map([list(range(10)), list(range(100))]),
        "starmap": ~add.starmap([(n, n) for n in range(10)]),
        "starmap later": add.starmap([(n, n) for n in range(3)]).apply_async(countdown=0.1),
        "map in a chord": chord([total.map([[1], [2]]), total.map([[3]])], greet.s()).apply_async(),
        "chunks called": add.chunks([(n, n) for n in range(10)], 4)(),
        "chunks as a group": add.chunks([(n, n) for n in range(4)], 2).group()(),
        "chunks skewed": [
            each.options["countdown"]
            for each in add.chunks([(n, n) for n in range(6)], 2).group().skew(start=1, stop=4).tasks
        ],
    }


def main():
    return data() | calls() | workflows() | {"incomplete": incomplete()}


def after(results):
    graph = results["graph"]
    independent, chorded, fan = results["independent"], results["chord called"], results["fan out immutable"]
    top = graph.parent.parent
    app.AsyncResult("after-the-chord").get(timeout=60)
    app.AsyncResult("after-the-chain").get(timeout=60)
    return {
        "graph's parents": [graph.parent.get(), top.get(), top.parent],
        "graph's edges": [len(top.graph), len(list(top.graph.edges()))],
        "collected": [[result.id, value] for result, value in top.collect()],
        "collected anyway": [value for _, value in top.collect(intermediate=True)],
        "independent's parents": [independent.parent.get(), independent.parent.parent.get()],
        "fan's parent": fan.parent.get(),
        "chord's header": chorded.parent.get(),
        "linked after": [app.AsyncResult(id).get() for id in ("after-the-chord", "after-the-chain")],
        "members": [[each.state for each in results["generator"]], results["generator"].completed_count()],
        "tuples": [
            app.AsyncResult(graph.as_tuple()[0][0]).get(),
            next(iter(graph.as_list())) == graph.id,
            len(results["generator"].as_tuple()[1]),
        ],
        "children": [child.get(timeout=60) for child in results["immutable link"].children],
    }
