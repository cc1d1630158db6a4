"""What holds for every test."""

from __future__ import annotations

import signal

# Started in the background by a shell, this process ignores SIGINT, and so would all that tests start: but
# some of them are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
