"""A program for a type checker; `test_typing` compares what it finds with the marks."""

# mypy: ignore-errors=False
from __future__ import annotations

from typing import assert_type

from greenq import AsyncResult, Call, EagerResult, GreenQ, Task
from greenq.task import AsyncTask

app = GreenQ("shop", broker="memory://a")


@app.task
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task(bind=True, max_retries=5, autoretry_for=(OSError,), queue="mail")
def send(self: Task[..., str], to: str, *, urgent: bool = False) -> str:
    raise self.retry(countdown=5)


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def fetch_bound(self: Task[..., bytes], url: str) -> bytes:
    return await fetch(url)


assert_type(add, Task[[int, int], int])  # wrong: assert-type
assert_type(add(1), int)
assert_type(add.delay(1, y=2), AsyncResult[int])
assert_type(add.delay(1).get(), int)
assert_type(add.apply_async((1,), countdown=5).get(), int)
assert_type(add.apply((1,)), EagerResult[int])
assert_type(send.delay("me", urgent=True).get(timeout=5), str)
assert_type(fetch.delay("x").get(), bytes)
assert_type(fetch_bound.delay("x").get(), bytes)
assert_type(app.send_many([add.call(1), add.call(2)]), list[AsyncResult[int]])
assert_type(app.wait(app.send_many(add.call(n) for n in range(3))), list[int])
assert_type(add.call(1).set(queue="x"), Call[int])


async def main() -> None:
    assert_type(await fetch("x"), bytes)


def keep(task: AsyncTask[[str], bytes]) -> None: ...


keep(fetch)
add.delay("1")  # wrong: arg-type
add.delay()  # wrong: call-arg
add.delay(1, 2, 3)  # wrong: call-arg
add("1")  # wrong: arg-type
send.delay("me", True)  # wrong: call-arg
send.delay(to=5)  # wrong: arg-type
fetch.delay(5)  # wrong: arg-type
fetch_bound.delay()  # wrong: call-arg
add.apply_async((1,), countdwn=5)  # wrong: call-arg
add.apply_async((1,), priority="high")  # wrong: arg-type
add.call("1")  # wrong: arg-type
app.task(max_retrys=3)  # wrong: call-overload
