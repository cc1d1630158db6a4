"""Import what is named in configuration or code; a failure is one line that leads to its place."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from greenq.errors import AppError, GreenqError

__all__ = ["import_module", "installed_apps", "place_of", "related", "symbol"]

_OURS = {__file__, os.path.join(os.path.dirname(__file__), "loading.py")}
"""Files whose lines are no news to the user."""


def import_module(name: str) -> ModuleType:
    """Import a module.

    Raises:
        AppError: its import fails; one line that says where.
        GreenqError: as its code raises it.
    """
    try:
        return importlib.import_module(name)
    except GreenqError:
        raise
    except (Exception, SystemExit) as error:
        raise AppError(_import_failed(name, error)) from error


def symbol(name: str) -> Any:
    """What a dotted name stands for: ``shop.routing:choose`` or ``shop.routing.choose``.

    Raises:
        AppError: there is no such module, or nothing of that name in it.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    if not module or not attribute:
        raise AppError(f"{name!r:.80} names nothing in a module: write module:name, as shop.routing:choose")
    found: Any = import_module(module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, dir(found), 1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise AppError(f"{module} has no {attribute}{hint}")
        found = getattr(found, part)
    return found


def related(package: str, name: str | None) -> ModuleType | None:
    """Import a module of a package, if it has one of that name; None where it has not.

    Parameters:
        package: dotted; a module instead of a package is imported itself, and of a class in a module (as
            Django's INSTALLED_APPS may have it) the module.
        name: of the module in it; None for the package itself.

    Raises:
        AppError: there is no such package, or an import fails.
    """
    above = _above(package)
    if name is None or not hasattr(above, "__path__"):
        return above
    if find_spec(f"{above.__name__}.{name}") is None:
        return None
    return import_module(f"{above.__name__}.{name}")


def installed_apps() -> list[str]:
    """The packages of Django's installed applications.

    Raises:
        AppError: there is no Django in this process.
    """
    registry = sys.modules.get("django.apps")
    if registry is None:
        raise AppError("which packages? Say autodiscover_tasks([...]); without Django nobody else knows them")
    return [config.name for config in registry.apps.get_app_configs()]


def _above(package: str) -> ModuleType:
    try:
        return import_module(package)
    except AppError as error:
        parent, _, last = package.rpartition(".")
        cause = error.__cause__
        if not parent or not isinstance(cause, ModuleNotFoundError) or cause.name != package:
            raise
        module = import_module(parent)
        if hasattr(module, last):
            return module
        raise


def _import_failed(module: str, error: BaseException) -> str:
    """One line that leads to the place in the user's code."""
    if isinstance(error, SyntaxError) and error.filename:
        place, what = f"{_short(error.filename)}:{error.lineno}", error.msg
    else:
        place, what = place_of(error), str(error)
    if isinstance(error, SystemExit):
        what = f"it ends the program ({what}); guard that by if __name__ == '__main__'"
    text = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return f"{module} cannot be imported: {place}: {' '.join(text.split())}"


def place_of(error: BaseException) -> str:
    """The innermost line that is the user's: not the import system's, nor an installed package's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    frames = [f for f in frames if f.filename not in _OURS] or frames
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(sys.prefix)]
    last = (own or frames)[-1]
    return f"{_short(last.filename)}:{last.lineno}"


def _short(path: str) -> str:
    inside = path.startswith(os.getcwd() + os.sep)
    return os.path.relpath(path) if inside else path
