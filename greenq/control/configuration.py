"""A worker's configuration as remote control tells it: under Celery's names where Celery has one."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from greenq.config.celery_names import CELERY_NAMES
from greenq.config.configuration import DEFAULT

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["configuration_of", "report_of"]

_NAMES = {key: name for name, (key, remark) in reversed(CELERY_NAMES.items()) if key and not remark}
"""Key here → Celery's name, where both mean the same."""


def configuration_of(app: GreenQ, defaults: bool) -> dict[str, Any]:
    """The settings by name, secrets masked.

    Parameters:
        defaults: also those that nobody has set.
    """
    rows = app.config.describe()
    return {_NAMES.get(row.key, row.key): row.value for row in rows if defaults or row.origin != DEFAULT}


def report_of(app: GreenQ) -> str:
    """Versions and settings, for people."""
    from greenq import __version__

    settings = "\n".join(f"{name}: {value!r}" for name, value in configuration_of(app, False).items())
    transport = app.settings.broker.url.partition(":")[0]
    results = (app.settings.results.url or "disabled").partition(":")[0]
    bits = " ".join(part for part in platform.architecture() if part)
    return (
        f"\nsoftware -> greenq:{__version__} py:{platform.python_version()}\n"
        f"platform -> system:{platform.system()} arch:{bits}\n"
        f"            kernel version:{platform.release()} imp:{platform.python_implementation()}\n"
        f"settings -> transport:{transport} results:{results}\n\n{settings}\n"
    )
