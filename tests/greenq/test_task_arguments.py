"""Arguments by annotation: models and dataclasses in the function, plain data on the way."""

from __future__ import annotations

import builtins
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from greenq import GreenQ, InvalidTaskArguments
from greenq.errors import AppError, EncodeError, InvalidOption
from greenq.message import Message
from tests.greenq.recording import recorded_app


class Order(pydantic.BaseModel):
    number: int
    items: list[str] = []


class BigOrder(Order):
    size: int = 9


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Stay:
    guest: str
    nights: list[date]


class Room(msgspec.Struct):
    stays: list[Stay]
    colour: Colour = Colour.RED


@pytest.fixture
def app() -> Iterator[GreenQ]:
    app, _, _ = recorded_app()
    yield app
    app.close()


def arguments(message: Message, app: GreenQ) -> Any:
    args, kwargs, _ = app.codecs.decode(message.body, message.content_type, message.content_encoding)
    return args, kwargs


# ── pydantic ─────────────────────────────────────────────────────────────────────────────────────────────


def test_models_are_sent_as_plain_data_and_arrive_as_models() -> None:
    app, broker, _ = recorded_app()

    @app.task(pydantic=True)
    def pack(order: Order, by: Order | None = None, *rest: Any, **more: Any) -> Order:
        assert type(order) is Order
        return order

    pack.delay(Order(number=1), by=None, extra=3)
    pack.apply_async((Order(number=2), {"number": 3}, 4))
    app.send_many([pack.call(Order(number=5))])
    found = [arguments(message, app) for message in broker.sent]
    assert found == [
        [[{"number": 1, "items": []}], {"by": None, "extra": 3}],
        [[{"number": 2, "items": []}, {"number": 3}, 4], {}],
        [[{"number": 5, "items": []}], {}],
    ] or found == [
        ([{"number": 1, "items": []}], {"by": None, "extra": 3}),
        ([{"number": 2, "items": []}, {"number": 3}, 4], {}),
        ([{"number": 5, "items": []}], {}),
    ]
    assert pack({"number": "7"}) == {"number": 7, "items": []}  # type: ignore[arg-type]


def test_a_model_that_would_arrive_as_another_is_left_to_the_serializer(app: GreenQ) -> None:
    @app.task(pydantic=True)
    def pack(order: Order) -> None: ...

    with pytest.raises(EncodeError, match="BigOrder"):
        pack.delay(BigOrder(number=1))


def test_a_class_of_ones_own_reaches_the_validators_as_context(app: GreenQ) -> None:
    seen: list[dict[str, Any]] = []

    class Watched(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def look(cls, value: int, info: pydantic.ValidationInfo) -> int:
            seen.append(dict(info.context or {}))
            return value

    def pack(order: Any) -> int:
        return order.number  # type: ignore[no-any-return]

    pack.__annotations__["order"] = Watched
    task = app.task(name="pack", pydantic=True, pydantic_context={"tenant": "ann"})(pack)
    assert task({"number": 3}) == 3
    assert seen == [{"tenant": "ann", "celery_app": app, "celery_task_name": "pack"}]


def test_what_does_not_fit_the_model_fails_the_task(app: GreenQ) -> None:
    @app.task(pydantic=True, pydantic_strict=True)
    def pack(order: Order) -> None: ...

    with pytest.raises(pydantic.ValidationError):
        pack.apply(({"number": "7"},)).get()


# ── msgspec ──────────────────────────────────────────────────────────────────────────────────────────────


def test_annotated_arguments_arrive_as_annotated(app: GreenQ) -> None:
    @app.task(typed=True)
    def book(room: Room, on: datetime, id: UUID, sizes: set[int], plain, *, also: Stay | None = None) -> Stay:  # type: ignore[no-untyped-def]
        assert [type(x) for x in (room, on, id, sizes)] == [Room, datetime, UUID, set]
        assert room.colour is Colour.RED
        assert also is None or type(also) is Stay
        return room.stays[0]

    given = (
        {"stays": [{"guest": "ann", "nights": ["2030-05-01"]}], "colour": "red"}, "2030-05-01T10:00:00Z",
        "9f1cb2d5-31d3-4b31-8a3e-6a1de8f0c7a1", [1, 2], {"left": "alone"},
    )  # fmt: skip
    value = book.apply(given, {"also": {"guest": "bob", "nights": []}}).get()
    assert value == {"guest": "ann", "nights": ["2030-05-01"]}


def test_structs_and_dataclasses_are_sent_as_plain_data() -> None:
    app, broker, _ = recorded_app()

    @app.task(typed=True)
    async def book(room: Room) -> None: ...

    book.delay(Room([Stay("ann", [date(2030, 5, 1)])]))
    args, _ = arguments(broker.sent[0], app)
    assert args == [{"stays": [{"guest": "ann", "nights": ["2030-05-01"]}], "colour": "red"}]


def test_a_wrong_argument_is_named(app: GreenQ) -> None:
    @app.task(typed=True)
    def book(room: Room, on: date) -> None: ...

    with pytest.raises(msgspec.ValidationError, match=r"^on: Invalid"):
        book.apply(({"stays": []}, "no date")).get()
    with pytest.raises(InvalidTaskArguments, match="on"):
        book.delay({"stays": []})  # type: ignore[call-arg, arg-type]


def test_annotations_that_lead_nowhere_are_told(app: GreenQ) -> None:
    def book(room: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    task = app.task(name="book", typed=True)(book)
    with pytest.raises(AppError, match="cannot be resolved"):
        task.apply((1,)).get()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────


def test_both_at_once_are_refused(app: GreenQ) -> None:
    with pytest.raises(InvalidOption, match="choose one"):
        app.task(name="both", pydantic=True, typed=True)(len)


@pytest.mark.parametrize(("option", "library"), [("pydantic", "pydantic"), ("typed", "msgspec")])
def test_a_library_that_is_missing_is_named(
    app: GreenQ, option: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(f"No module named {library!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(AppError, match=rf"pip install .greenq\[{library}\]"):
        app.task(name="task", **{option: True})(lambda x: x)  # type: ignore[arg-type]
