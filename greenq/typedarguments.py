"""Arguments as the function's annotations have them: made of plain data before a run, plain data again after.

With ``pydantic=True`` as Celery does it: each parameter that is annotated with a model (or ``Model | None``)
is validated as one, and a model that is returned as annotated is dumped. With ``typed=True`` every annotated
parameter is converted by msgspec: dataclasses, TypedDicts, structs, dates, enums, lists of them, and so on.

Source: celery/app/base.py (``pydantic_wrapper``): what is validated, with what context, and what is dumped.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from greenq.errors import AppError, InvalidOption
from pools.coroutines import is_coroutine_function

__all__ = ["Converter", "converter_of", "converting", "dumping"]


class Converter(Protocol):
    """Makes arguments of plain data, and plain data of arguments and values.

    Parameters of its methods:
        name: the parameter's.
    """

    def load(self, name: str, value: Any) -> Any:
        """What the function gets for what arrived."""

    def dump(self, name: str, value: Any) -> Any:
        """What is sent for what the caller gave."""

    def dump_value(self, value: Any) -> Any:
        """What is stored for what the function returned."""


def converter_of(app: Any, fn: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Converter | None:
    """The converter that a task's options ask for; None for none.

    Raises:
        AppError: the library that it needs is not installed.
        InvalidOption: two are asked for.
    """
    if options.get("pydantic") and options.get("typed"):
        raise InvalidOption(f"task {name}: pydantic and typed both convert arguments: choose one")
    if options.get("pydantic"):
        return _Pydantic(_library("pydantic", name), app, fn, name, options)
    return _Msgspec(_library("msgspec", name), fn) if options.get("typed") else None


def converting(fn: Callable[..., Any], converter: Converter) -> Callable[..., Any]:
    """The function with its arguments converted before, and its value after."""
    bind = _binder(fn, converter.load)

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = bind(args, kwargs)
        return converter.dump_value(fn(*args, **kwargs))

    @functools.wraps(fn)
    async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = bind(args, kwargs)
        return converter.dump_value(await fn(*args, **kwargs))

    return run_coroutine if is_coroutine_function(fn) else run


def dumping(
    fn: Callable[..., Any], converter: Converter
) -> Callable[[Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]:
    """What turns the arguments of a call into plain data.

    Parameters:
        fn: as callers see it: without the task itself as its first parameter.
    """
    return _binder(fn, converter.dump)


def _binder(
    fn: Callable[..., Any], convert: Callable[[str, Any], Any]
) -> Callable[[Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]:
    """What converts each argument by its parameter; those of ``*args`` and ``**kwargs`` stay."""
    parameters = inspect.signature(fn).parameters.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}

    def bind(args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        first = [convert(name, value) for name, value in zip(positional, args, strict=False)]
        rest = {name: convert(name, value) if name in by_name else value for name, value in kwargs.items()}
        return (*first, *args[len(first) :]), rest

    return bind


def _library(module: str, task: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AppError(
            f"task {task} wants its arguments converted by {module}, which cannot be imported ({error}): "
            f"pip install 'greenq[{module}]'"
        ) from error


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The function's annotations, resolved; where that fails, as they are written."""
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return dict(getattr(fn, "__annotations__", {}))


def _without_none(annotation: Any) -> Any:
    """``T`` of ``T | None``; anything else as it is."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(annotation) if one is not type(None)]
        if len(others) == 1:
            return others[0]
    return annotation


class _Pydantic:
    def __init__(
        self, pydantic: Any, app: Any, fn: Callable[..., Any], name: str, options: Mapping[str, Any]
    ) -> None:
        self._model = pydantic.BaseModel
        self._fn = fn
        self._strict = options.get("pydantic_strict", False)
        context = dict(options.get("pydantic_context") or {})
        self._context = {**context, "celery_app": app, "celery_task_name": name}
        self._dump: dict[str, Any] = {"mode": "json", **(options.get("pydantic_dump_kwargs") or {})}

    @functools.cached_property
    def _models(self) -> dict[str, Any]:
        """The parameters that are models; looked up late: annotations may name what comes further down."""
        plain = {name: _without_none(annotation) for name, annotation in _hints(self._fn).items()}
        return {
            name: kind
            for name, kind in plain.items()
            if isinstance(kind, type) and (name == "return" or issubclass(kind, self._model))
        }

    def load(self, name: str, value: Any) -> Any:
        model = self._models.get(name)
        if model is None or name == "return":
            return value
        if value is None and _hints(self._fn).get(name) is not model:
            return None
        return model.model_validate(value, strict=self._strict, context=self._context)

    def dump(self, name: str, value: Any) -> Any:
        """A model that would arrive as it is sent; any other is the serializer's to carry or refuse."""
        model = self._models.get(name)
        if model is None or not isinstance(value, self._model) or hasattr(type(value), "__json__"):
            return value
        try:
            dumped = value.model_dump(**self._dump)
            same = self.load(name, dumped) == value
        except Exception:
            return value
        return dumped if same else value

    def dump_value(self, value: Any) -> Any:
        kind = self._models.get("return")
        if kind is not None and isinstance(value, self._model) and isinstance(value, kind):
            return value.model_dump(**self._dump)
        return value


class _Msgspec:
    def __init__(self, msgspec: Any, fn: Callable[..., Any]) -> None:
        self._msgspec = msgspec
        self._fn = fn

    @functools.cached_property
    def _types(self) -> dict[str, Any]:
        hints = _hints(self._fn)
        unresolved = [name for name, hint in hints.items() if isinstance(hint, str)]
        if unresolved:
            raise AppError(
                f"{self._fn.__qualname__} is typed, but its annotations cannot be resolved "
                f"({', '.join(unresolved)}): import what they name where the function is written"
            )
        return hints

    def load(self, name: str, value: Any) -> Any:
        if name not in self._types:
            return value
        try:
            return self._msgspec.convert(value, self._types[name])
        except self._msgspec.ValidationError as error:
            raise self._msgspec.ValidationError(f"{name}: {error}") from None

    def dump(self, name: str, value: Any) -> Any:
        return self._msgspec.to_builtins(value, str_keys=True)

    def dump_value(self, value: Any) -> Any:
        return self._msgspec.to_builtins(value, str_keys=True)
