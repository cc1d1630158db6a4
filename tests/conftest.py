"""What holds for every test."""

from __future__ import annotations

import logging
import signal

import pytest

# Started in the background by a shell, this process ignores SIGINT, and so would all that tests start: but
# some of them are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


ROOT_LEVEL = logging.root.level


@pytest.fixture(autouse=True)
def heard_loggers() -> None:
    """Undo what libraries, workers and tests in this process have done to the loggers that tests listen to.

    Before each test, and not after those that change something: then it does not matter who did, or when.
    """
    logging.disable(logging.NOTSET)
    logging.root.disabled = False
    logging.root.setLevel(min(logging.root.level, ROOT_LEVEL))  # lower is what --log-level asks for
    for name in filter(_is_ours, list(logging.root.manager.loggerDict)):
        logger = logging.getLogger(name)
        logger.disabled = False
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()
        logger.filters.clear()


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("greenq", "pools")
