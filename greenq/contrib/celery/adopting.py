"""The way in: a Celery application that somebody names becomes one of greenq's."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from greenq.contrib.celery.application import AdoptedApp
from greenq.contrib.celery.forwarding import forward

__all__ = ["adopt"]

_adopted: WeakKeyDictionary[Any, AdoptedApp] = WeakKeyDictionary()


def adopt(celery: Any, name: str) -> AdoptedApp:
    """The application of greenq's that serves the tasks of one of Celery's; the same one each time.

    Parameters:
        celery: a `celery.Celery`.
        name: where it was found, for people.

    Raises:
        ConfigError: its settings mean something that greenq does not have.
    """
    made = _adopted.get(celery)
    if made is None:
        made = _adopted[celery] = AdoptedApp(celery, name)
        forward(made)
    return made
