"""What holds for every test."""

from __future__ import annotations

import logging
import signal

import pytest

# Started in the background by a shell, this process ignores SIGINT, and so would all that tests start: but
# some of them are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def heard_loggers() -> None:
    """Undo what libraries and workers in this process have done to the loggers that tests listen to."""
    logging.disable(logging.NOTSET)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] in ("greenq", "pools") and isinstance(logger, logging.Logger):
            logger.disabled = False
            logger.propagate = True
