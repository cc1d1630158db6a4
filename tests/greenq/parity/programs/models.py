"""Arguments and values that are pydantic's models."""
# ruff: noqa: F821 - app and log are given to it

from pydantic import BaseModel


class Order(BaseModel):
    number: int
    items: list[str] = []


class Receipt(BaseModel):
    total: float


@app.task(pydantic=True)
def pay(order: Order, by: Order | None = None, *rest: int, note: str = "") -> Receipt:
    log.append([type(order).__name__, type(by).__name__, list(rest), note])
    return Receipt(total=order.number * 1.5)


@app.task(pydantic=True, bind=True)
def bound(self, order: Order) -> dict:
    return {"number": order.number, "task": self.name}


@app.task(pydantic=True, pydantic_strict=True)
def strict(order: Order):
    return order.number


@app.task(pydantic=True, pydantic_dump_kwargs={"exclude": {"items"}})
def without_items(order: Order) -> Order:
    return order


@app.task(pydantic=True)
def unannotated(order):
    return order


def main():
    wrong = strict.delay({"number": "5"})
    wrong.get(timeout=60, propagate=False)
    sent = {
        "of a mapping": pay.delay({"number": 2}),
        "of models": pay.delay(Order(number=3, items=["a"]), by=Order(number=1), note="n"),
        "more": pay.delay({"number": 2}, None, 7, 8),
        "bound": bound.apply_async(kwargs={"order": {"number": "4"}}),
        "dumped": without_items.delay({"number": 1, "items": ["x"]}),
        "plain": unannotated.delay({"number": "5"}),
    }
    sent["plain"].get(timeout=60)
    return sent | {
        "strict": [wrong.state],
        "called": [pay(Order(number=2)), pay({"number": 4})],
        "eager": pay.apply(({"number": 9},)).get(),
    }
