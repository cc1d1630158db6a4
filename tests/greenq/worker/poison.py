"""Tasks of which one kills its process; each leaves its trace in the file that it is told."""

import os
import signal
import time

from greenq import GreenQ

app = GreenQ("poison")


def note(path: str, text: str) -> None:
    """Append a line in one write, so that lines of many processes don't mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


@app.task
def kill(path, after=0.0):
    note(path, "kill")
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def work(path, name, seconds):
    note(path, f"start {name}")
    time.sleep(seconds)
    note(path, f"end {name}")
    return name
