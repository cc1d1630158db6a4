"""Logging of worker processes: lines for people, or one JSON object a line; passwords masked."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from greenq.config.schema import LogSettings
from greenq.request import current
from greenq.worker.masking import mask_text

__all__ = ["JsonLines", "TextLines", "setup"]

COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "DEBUG": "2"}


def setup(settings: LogSettings, node: str, stream: TextIO | None = None) -> None:
    """Make the root logger write as `settings` says; an earlier set-up is replaced.

    Parameters:
        settings: level and format.
        node: the worker's name, in every JSON line.
        stream: where to; None for standard error.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        JsonLines(node) if settings.format == "json" else TextLines(colour=_coloured(stream))
    )
    handler.addFilter(_name_task)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _name_task(record: logging.LogRecord) -> bool:
    """Put the running task's name and id into the record, unless the caller's `extra` did."""
    if not hasattr(record, "id"):
        request = current.get()
        record.task = request.task if request else None
        record.id = request.id if request else None
    return True


class TextLines(logging.Formatter):
    """``2030-01-31 12:00:00,123 INFO shop: message [shop.tasks.add 3f2c…]``.

    Parameters:
        colour: colour the level's name.
    """

    def __init__(self, colour: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if getattr(record, "id", None) and record.id not in line:  # type: ignore[attr-defined]
            line += f" [{record.task} {record.id}]"  # type: ignore[attr-defined]
        if self._colour and record.levelname in COLOURS:
            level = f" {record.levelname} "
            return line.replace(level, f" \033[{COLOURS[record.levelname]}m{record.levelname}\033[0m ", 1)
        return line

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, task, id, node, process, exception.

    What a caller gave in `extra` follows under its own names.

    Parameters:
        node: the worker's name.
    """

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_text(record.getMessage()),
            "task": getattr(record, "task", None),
            "id": getattr(record, "id", None),
            "node": self._node,
            "process": record.process,
        }
        if record.exc_info:
            line["exception"] = mask_text(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = mask_text(record.stack_info)
        for name, value in vars(record).items():
            if name not in STANDARD and name not in line:
                line[name] = mask_text(value) if isinstance(value, str) else value
        return json.dumps(line, ensure_ascii=False, default=lambda value: mask_text(str(value)))


STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""The attributes that every record has."""
