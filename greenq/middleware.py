"""Middleware: objects with hooks around each run, chosen in YAML or in code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from greenq.errors import ConfigError
from greenq.request import Request

__all__ = ["Middleware", "overridden", "resolve"]


class Middleware:
    """Something that is done around every run, in the task's own thread, green thread or process.

    A hook that a class does not override costs nothing. What a hook raises is logged and changes nothing of
    the task's end. Hooks belong to the run: the task's time limits go on while they work, and after a hard
    limit they and the function's ``finally`` blocks have three seconds together.

        >>> from greenq import GreenQ, Middleware
        >>> class Count(Middleware):
        ...     runs = 0
        ...     def after_run(self, request, value, error):
        ...         self.runs += 1
        >>> app = GreenQ("shop", broker="memory://manual", middleware=[Count()])
    """

    def before_run(self, request: Request) -> None:
        """Called just before the function.

        Parameters:
            request: the call that begins.
        """

    def after_run(self, request: Request, value: Any, error: BaseException | None) -> None:
        """Called when the function has ended, however it did: also after a time limit, also after a kill.

        It may be called twice for one run, if a time limit came in the middle of it: let it bear that.

        Parameters:
            value: what the function returned, None if it raised.
            error: what it raised; `pools.Killed` if it was ended from outside.
        """


BUILT_IN = {"django.conf": "greenq.contrib.django:CloseConnections"}
"""A library's module → the middleware that an application needs which has configured that library."""


def resolve(given: Iterable[Middleware | str]) -> tuple[Middleware, ...]:
    """Make middleware of what code and configuration name, outermost first.

    What a library needs that the application has configured is added: Django's connections are closed.

    Parameters:
        given: objects, classes that need no arguments, or ``module:name`` of either.

    Raises:
        ConfigError: a name leads nowhere, or to something that is no middleware.
    """
    found = [_object(item) for item in given]
    for module, reference in BUILT_IN.items():
        if _configured(module):
            kind = _import(reference)
            if not any(isinstance(known, kind) for known in found):
                found.append(kind())
    return tuple(found)


def overridden(middleware: Iterable[Middleware], hook: str) -> tuple[Callable[..., Any], ...]:
    """The bound hooks of that name that do something, in the same order."""
    nothing = getattr(Middleware, hook)
    return tuple(getattr(it, hook) for it in middleware if getattr(type(it), hook) is not nothing)


def _object(item: Any) -> Middleware:
    found = _import(item) if isinstance(item, str) else item
    name = item if isinstance(item, str) else repr(item)
    if isinstance(found, type) and issubclass(found, Middleware):
        try:
            found = found()
        except Exception as error:
            raise ConfigError(
                f"middleware {name} cannot be made without arguments ({error!r}): make the object in your "
                "code and name that, as in shop.tasks:hooks"
            ) from error
    if not isinstance(found, Middleware):
        raise ConfigError(
            f"middleware {name} is neither a greenq.Middleware nor a class of them, but {found!r:.80}"
        )
    return found


def _import(reference: str) -> Any:
    module_name, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise ConfigError(
            f"middleware {reference} cannot be imported ({error!r}): write module:name, and install what it "
            "needs"
        ) from error


def _configured(module: str) -> bool:
    """Whether the application has imported this library's settings, and there are any."""
    loaded = sys.modules.get(module)
    settings = getattr(loaded, "settings", None)
    return settings is not None and (settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ)
