"""What every pool does with a call that has ended: tell `done`, and survive what `done` raises."""

from __future__ import annotations

import sys
import threading
import traceback
from types import FrameType

from pools.base import Call

__all__ = ["complain", "report", "stack"]


def report(call: Call) -> None:
    """Call ``call.done``, whatever it raises."""
    if call.done is not None:
        try:
            call.done(call)
        except BaseException:
            complain()


def complain() -> None:
    """Print the exception being handled as one that ends a thread is printed, by `threading.excepthook`."""
    kind, value, trace = sys.exc_info()
    threading.excepthook(threading.ExceptHookArgs((kind or Exception, value, trace, None)))


def stack(frame: FrameType | None, *without: str) -> list[str]:
    """Describe a stack for `Running.stack`: one text per frame, the innermost last.

    Parameters:
        frame: the innermost frame.
        without: files whose frames are left out at the outer end: the pool's own.
    """
    if frame is None:
        return []
    summary = traceback.extract_stack(frame)
    while summary and summary[0].filename in without:
        del summary[0]
    return [text.rstrip("\n") for text in summary.format()]
