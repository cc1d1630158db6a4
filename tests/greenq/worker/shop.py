"""The application that the worker's tests run; each task leaves its trace in the file that it is told."""

import asyncio
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from greenq import GreenQ, Ignore, Reject, SoftTimeLimitExceeded
from greenq.signals import worker_ready

app = GreenQ("shop")


if "SHOP_LINGERS" in os.environ:

    @worker_ready.connect(weak=False)
    def linger(**_):
        """Let tasks begin before the worker says that it is up."""
        time.sleep(1)


def note(path: str, text: str) -> None:
    """Append a line in one write, so that lines of many processes don't mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


@app.task
def add(x, y):
    return x + y


@app.task
def nap(seconds, path=None, name=""):
    if path:
        note(path, f"start {name}")
    time.sleep(seconds)
    if path:
        note(path, f"end {name}")
    return name


@app.task(acks_late=False)
def nap_once(seconds, path, name):
    note(path, f"start {name}")
    time.sleep(seconds)
    note(path, f"end {name}")


@app.task
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return os.getpid()


@app.task
def spin_on(seconds):
    """Compute for so long by the clock on the wall."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()


@app.task
def fail(message):
    raise ValueError(message, 42)


@app.task(acks_on_failure=False)
def fail_and_keep():
    raise ValueError("keep me")


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def fail_unless(well):
    if not well:
        raise ValueError("stored")


@app.task
def unencodable():
    return object()


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries


@app.task(autoretry_for=(KeyError,), max_retries=2, retry_backoff=False, default_retry_delay=0)
def always_failing():
    raise KeyError("again")


@app.task
def ignore():
    raise Ignore


@app.task
def reject(requeue, path):
    note(path, "ran")
    with open(path) as file:
        if requeue and len(file.readlines()) > 1:
            return "second time"
    raise Reject("bad goods", requeue=requeue)


@app.task
def leave():
    sys.exit(3)


@app.task(soft_time_limit=0.3)
def soft(path):
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        note(path, "soft")
        raise


@app.task(soft_time_limit=0.3)
async def soft_coroutine(path):
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        note(path, "soft")
        raise


NO_LIMITS = bool(os.environ.get("SHOP_NO_LIMITS"))
"""Set for pools that refuse an application with hard limits."""


@app.task(time_limit=None if NO_LIMITS else 0.3)
def hard(path):
    try:
        time.sleep(30)
    except Exception:
        note(path, "swallowed")
    finally:
        note(path, "finally")


@app.task
def block(path):
    """Keep the interpreter from running anything else on a green pool; once."""
    if not os.path.exists(path):
        note(path, "blocked")
        signal.sigwait([signal.SIGUSR1])


@app.task
def end_process():
    os._exit(7)


@app.task
def kill_all_greenlets():
    import gc

    import gevent

    gevent.killall([it for it in gc.get_objects() if isinstance(it, gevent.Greenlet)], block=False)


@app.task
def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def about_me(self):
    request = self.request
    return {
        "id": request.id,
        "task": request.task,
        "retries": request.retries,
        "hostname": request.hostname,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "queue": request.delivery_info["routing_key"],
        "headers": request.headers,
    }


@app.task
def parent():
    return add.delay(1, 2).id


@app.task
async def coroutine(x):
    """What monkey-patching breaks elsewhere: a thread, a name look-up and a process inside a coroutine."""
    loop = asyncio.get_running_loop()
    in_thread = await asyncio.to_thread(lambda: x + 1)
    found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(7)", stdout=subprocess.PIPE)
    out, _ = await child.communicate()
    return [in_thread, found[0][4][0], int(out)]


local = threading.local()


@app.task
def plant():
    local.value = "planted"
    import contextvars

    variables["var"] = variables.get("var") or contextvars.ContextVar("var", default=None)
    variables["var"].set("planted")


@app.task
def look():
    variable = variables.get("var")
    return [getattr(local, "value", None), variable.get() if variable else None]


variables = {}


@app.task
def frames():
    """The modules of the frames between the pool and a task's function, innermost first."""
    frame = sys._getframe(1)
    above = []
    while frame is not None and not frame.f_globals["__name__"].startswith("pools."):
        above.append(frame.f_globals["__name__"])
        frame = frame.f_back
    return above


@app.task
def patched():
    """Whose sockets these are, and whether what the application imported at its top has the same."""
    return [socket.socket.__module__.split(".")[0], time.sleep.__module__.split(".")[0]]


hoarded = []


@app.task
def hoard(size):
    hoarded.append(bytearray(b"x") * size)
    with open("/proc/self/statm") as file:
        return os.getpid(), int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


SHORT = None if NO_LIMITS else 1.0


@app.task(time_limit=SHORT)
def endless(path, name):
    """Compute without end, in Python."""
    note(path, f"start {name}")
    while True:
        pass


@app.task(time_limit=SHORT)
def catastrophe(path, name):
    """Compute without end in C, with the interpreter's lock in hand."""
    note(path, f"start {name}")
    re.match("(a+)+$", "a" * 64 + "b")


@app.task(time_limit=SHORT)
async def endless_coroutine(path, name):
    note(path, f"start {name}")
    while True:
        pass


@app.task(time_limit=SHORT)
async def catastrophic_coroutine(path, name):
    note(path, f"start {name}")
    re.match("(a+)+$", "a" * 64 + "b")


@app.task
def hold_lock(seconds):
    """Wait in C without giving the interpreter's lock away."""
    reader, writer = os.pipe()
    with subprocess.Popen(["sh", "-c", f"sleep {seconds}; echo"], stdout=writer):
        ctypes.PyDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
    os.close(reader)
    os.close(writer)
    return os.getpid()


@app.task
def environment(name):
    return os.environ.get(name)


@app.task
def leave_an_orphan():
    """Start a process whose parent ends before it does."""
    script = "sleep 0.5 & echo $!"
    return int(subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout.split()[0])


@app.task
def spin_once(path):
    """Say who runs it, and wait to be killed; when it runs again, say so."""
    if not os.path.exists(path):
        note(path, str(os.getpid()))
        time.sleep(600)
    return "again"
