"""Find the module that somebody names, importing neither it nor anything of ours that is large."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from importlib.machinery import ModuleSpec, PathFinder
from pkgutil import iter_modules

from greenq.errors import AppError

__all__ = ["find"]


def find(name: str) -> None:
    """Check that a module is there, importing nothing of it.

    Parameters:
        name: ``module``, ``module:attribute`` or ``module:function()``.

    Raises:
        AppError: it is not; says what may be meant.
    """
    module = name.partition(":")[0]
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        raise AppError(
            f"{name!r} names no application: write module or module:attribute, as in shop.tasks:app"
        )
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    places: list[str] | None = None
    for depth, part in enumerate(parts, 1):
        above = ".".join(parts[:depth])
        if above in sys.modules:
            places = list(getattr(sys.modules[above], "__path__", ()))
            continue
        spec = _spec(above, places)
        if spec is None:
            raise AppError(_not_found(parts[: depth - 1], part, places))
        places = list(spec.submodule_search_locations or ())
        if depth < len(parts) and spec.submodule_search_locations is None:
            rest = ".".join(parts[depth:])
            raise AppError(f"{above} is a module, not a package: did you mean {above}:{rest}?")


def _spec(name: str, places: list[str] | None) -> ModuleSpec | None:
    try:
        return PathFinder.find_spec(name, places)
    except KeyError:  # a directory without __init__.py: its place asks for its parent, which is not imported
        spec = ModuleSpec(name, None, is_package=True)
        part = name.rpartition(".")[2]
        spec.submodule_search_locations = [os.path.join(place, part) for place in places or ()]
        return spec
    except (ImportError, ValueError):
        return None


def _not_found(package: list[str], last: str, places: list[str] | None) -> str:
    name = ".".join([*package, last])
    known = [module.name for module in iter_modules([os.getcwd()] if places is None else places)]
    near = get_close_matches(last, known, 1)
    if last == "py" and package:
        hint = f"write it without .py: {'.'.join(package)}"
    elif near:
        hint = f"did you mean {'.'.join([*package, near[0]])}?"
    elif package:
        hint = f"{'.'.join(package)} has {', '.join(known[:8]) or 'no modules'}"
    else:
        hint = f"it is neither in {os.getcwd()} nor installed; start in the directory that holds it"
    return f"there is no module {name}: {hint}"
