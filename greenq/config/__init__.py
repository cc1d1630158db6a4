"""Configuration: one YAML file, code, environment and command line, resolved to typed settings with origins.

It imports no pool, codec or broker, so that the supervisor can load it before anything is decided.
"""

from __future__ import annotations

from greenq.config.configuration import Configuration, Row
from greenq.config.loading import load
from greenq.config.masking import mask
from greenq.config.schema import (
    BrokerSettings,
    LogSettings,
    QueueSettings,
    ResultSettings,
    Route,
    Settings,
    TaskSettings,
    WorkerSettings,
)

__all__ = [
    "BrokerSettings",
    "Configuration",
    "LogSettings",
    "QueueSettings",
    "ResultSettings",
    "Route",
    "Row",
    "Settings",
    "TaskSettings",
    "WorkerSettings",
    "load",
    "mask",
]
