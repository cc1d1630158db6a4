"""Find the application that a command names."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from greenq.errors import AppError, GreenqError

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["find", "load"]

ATTRIBUTES = ("app", "greenq", "celery")
"""Where the application is looked for in a module if no attribute is named."""


def find(name: str) -> None:
    """Check that the module of `name` is there, importing nothing of it.

    Raises:
        AppError: it isn't; says what is meant.
    """
    module = name.partition(":")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        raise AppError(
            f"{name!r} names no application: write module or module:attribute, as in shop.tasks:app"
        )
    _import_from_here()
    places: list[str] | None = None
    parts = module.split(".")
    for depth in range(len(parts)):
        spec = _spec(".".join(parts[: depth + 1]), places)
        if spec is None:
            raise AppError(_not_found(parts[: depth + 1], places))
        if depth < len(parts) - 1 and spec.submodule_search_locations is None:
            found, rest = ".".join(parts[: depth + 1]), ".".join(parts[depth + 1 :])
            meant = found if rest == "py" else f"{found}:{rest}"
            raise AppError(f"{found} is a module, so there is no {module}: did you mean {meant}?")
        places = list(spec.submodule_search_locations or [])


def _spec(name: str, places: list[str] | None) -> ModuleSpec | None:
    try:
        return PathFinder.find_spec(name, places)
    except (ImportError, ValueError):
        return None


def _import_from_here() -> None:
    """Let the working directory be imported from, as ``python -m`` does."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _not_found(parts: list[str], places: list[str] | None) -> str:
    *package, last = parts
    where = places if places is not None else [os.getcwd()]
    known = [module.name for module in iter_modules(where)]
    near = get_close_matches(last, known, 1)
    if near:
        hint = f"did you mean {'.'.join([*package, near[0]])}?"
    elif package:
        hint = f"the package {'.'.join(package)} has {', '.join(known[:8]) or 'no modules'}"
    else:
        hint = f"it is neither in {os.getcwd()} nor installed; start in the directory that holds it"
    return f"there is no module {'.'.join(parts)}: {hint}"


def load(name: str, config: str | None = None) -> GreenQ:
    """Import the application that `name` names.

    Parameters:
        name: module or module:attribute.
        config: path of a configuration that it is to use, if it names none itself.

    Raises:
        AppError: there is none, or its import fails.
    """
    find(name)
    if config is not None:
        os.environ["GREENQ_CONFIG"] = os.path.abspath(config)
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except GreenqError:
        raise
    except Exception as error:
        raise AppError(_import_failed(module_name, error)) from error
    return _pick(module_name, vars(module), attribute)


def _pick(module: str, content: dict[str, object], attribute: str) -> GreenQ:
    from greenq.app import GreenQ

    apps = {name: value for name, value in content.items() if isinstance(value, GreenQ)}
    if attribute:
        if attribute in apps:
            return apps[attribute]
        known = ", ".join(apps) or "none"
        what = (
            f"is a {type(content[attribute]).__name__}, no GreenQ" if attribute in content else "is not there"
        )
        raise AppError(f"{module}:{attribute} {what}: applications in {module}: {known}")
    for name in ATTRIBUTES:
        if name in apps:
            return apps[name]
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.values()))
    if apps:
        raise AppError(f"{module} has several applications: say which, as in {module}:{next(iter(apps))}")
    raise AppError(f"{module} has no application: it needs a line such as app = GreenQ({module!r})")


def _import_failed(module: str, error: Exception) -> str:
    """One line that leads to the place in the user's code."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{os.path.relpath(error.filename)}:{error.lineno}: "
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        last = frames[-1] if len(frames) > 1 else None
        place = f"{os.path.relpath(last.filename)}:{last.lineno}: " if last else ""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return (
        f"{module} cannot be imported: {place}{type(error).__name__}: {message} "
        f"(python -c 'import {module}' shows all of it)"
    )
