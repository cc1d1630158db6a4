"""Find and import the application that somebody names: ``shop.tasks`` or ``shop.tasks:app``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from greenq.app import GreenQ
from greenq.errors import AppError, GreenqError
from greenq.importing import import_module, place_of
from greenq.locating import find

__all__ = ["load_app"]

ATTRIBUTES = ("app", "celery", "greenq")
"""Where the application is looked for in a module if no attribute is named; Celery's two first."""
SUBMODULES = ("celery", "greenq", "tasks")
"""Where it is looked for in a package that has none itself."""
ADOPTED = {("celery.app.base", "Celery"): ("greenq.contrib.celery.adopting", "adopt")}
"""Classes of applications of other libraries, and the function that makes a GreenQ of one.

None is imported to ask: what is an instance of a class has imported its module.
"""


def load_app(name: str) -> GreenQ:
    """Import an application.

    The working directory is importable, as it is for ``python -m``. Without an attribute, the first of these
    counts: the module's `app`, `celery` or `greenq`; the only GreenQ in it; the same in the package's
    submodules `celery`, `greenq` and `tasks`.

    Parameters:
        name: ``module``, ``module:attribute``, or ``module:function()`` for a function that makes it.

    Raises:
        AppError: there is none, or its import fails; one line that says where.
        ConfigError: its configuration has a mistake.
    """
    module_name, colon, attribute = name.partition(":")
    find(module_name)
    module = import_module(module_name)
    if colon:
        return _attribute(module, attribute)
    found = _pick(module)
    if found is not None:
        return found
    if hasattr(module, "__path__"):
        for submodule in SUBMODULES:
            below = f"{module_name}.{submodule}"
            if PathFinder.find_spec(below, list(module.__path__)) is not None:
                found = _pick(import_module(below))
                if found is not None:
                    return found
    raise AppError(f'{module_name} has no application: it needs a line such as app = GreenQ("{module_name}")')


# ── which object ─────────────────────────────────────────────────────────────────────────────────────────


def _apps(content: Mapping[str, Any]) -> dict[str, Any]:
    """The applications among these: greenq's own, or else those that it can adopt."""
    own = {name: value for name, value in content.items() if isinstance(value, GreenQ)}
    return own or {name: value for name, value in content.items() if _adopter(value) is not None}


def _adopter(value: object) -> tuple[str, str] | None:
    """Where the function is that makes a GreenQ of another library's application; None if it is none."""
    for (module, name), place in ADOPTED.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            return place
    return None


def _made(value: object, name: str) -> GreenQ | None:
    """An application of greenq's: the value itself, or what adopts it; None if it is no application."""
    if isinstance(value, GreenQ):
        return value
    place = _adopter(value)
    if place is None:
        return None
    adopt = getattr(importlib.import_module(place[0]), place[1])
    adopted: GreenQ = adopt(value, name)
    return adopted


def _pick(module: ModuleType) -> GreenQ | None:
    apps = _apps(vars(module))
    for name in ATTRIBUTES:
        if name in apps:
            return _made(apps[name], module.__name__)
    if len({id(app) for app in apps.values()}) > 1:
        some = ", ".join(f"{module.__name__}:{name}" for name in apps)
        raise AppError(f"{module.__name__} has several applications; say which: {some}")
    return _made(next(iter(apps.values()), None), module.__name__)


def _attribute(module: ModuleType, written: str) -> GreenQ:
    name, call, _ = written.partition("()")
    content = vars(module)
    place = f"{module.__name__}:{written}"
    if name not in content:
        near = get_close_matches(name, content, 1)
        apps = ", ".join(_apps(content)) or "none"
        hint = f"did you mean {module.__name__}:{near[0]}?" if near else f"applications in it: {apps}"
        raise AppError(f"there is no {place}: {hint}")
    value = content[name]
    if call:
        if not callable(value):
            raise AppError(
                f"{module.__name__}:{name} is a {type(value).__name__} and cannot be called: drop the ()"
            )
        try:
            value = value()
        except GreenqError:
            raise
        except Exception as error:
            raise AppError(
                f"{place} failed: {place_of(error)}: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
    app = _made(value, place)
    if app is not None:
        return app
    if not call and callable(value) and not isinstance(value, type):
        raise AppError(f"{place} is a function: write {place}() if it makes the application")
    raise AppError(f"{place} is a {type(value).__name__}, not a GreenQ or Celery application")
