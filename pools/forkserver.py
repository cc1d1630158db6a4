"""The clean process that the prefork pool's children are forked from.

It is started by exec, runs the pool's setup once (which usually imports the application), and then only
forks, delivers signals and reports ends. If the setup left threads or sockets open, which a fork would break
or share, it starts itself anew, forks children before anything is imported, and lets each run the setup.

Run as a script with three numbers: the descriptors of the control socket and of the instructions, and the
parent's process id.
"""

from __future__ import annotations

import marshal
import os
import sys

if __name__ == "__main__":
    with open(os.dup(int(sys.argv[2])), "rb") as _file:
        _file.seek(0)
        sys.path[:] = marshal.load(_file)["path"]

import contextlib
import ctypes
import gc
import selectors
import signal
import socket
import threading
import time
import traceback
from types import FrameType
from typing import Any, NoReturn

from pools import frames
from pools.children import INTERRUPT, LAST_ACTS, Child, run_setup

__all__ = ["ForkServer", "die_with", "leftovers", "open_sockets"]

TERMINAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Sent to whole process groups: the parent decides what they mean. A handler that does nothing is used since
a signal that is ignored stays so in every program that a task starts."""

LONGEST = 60_000
"""Characters of a traceback that fit into one message."""

GRACE = 1.0
"""Seconds that children get to end by themselves when the parent has gone."""


def die_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends; end now if that has happened."""
    with contextlib.suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def open_sockets() -> set[int]:
    """Return the descriptors of this process's sockets and event queues, as far as the system tells."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")
                if target.startswith("socket:") or "eventpoll" in target:
                    found.add(int(name))
    return found


def leftovers(before: set[int]) -> list[str]:
    """Name the threads of this process, and the sockets that were not open before."""
    named = [f"thread {t.name}" for t in threading.enumerate() if t is not threading.main_thread()]
    with contextlib.suppress(OSError):
        hidden = len(os.listdir("/proc/self/task")) - 1 - len(named)
        if hidden > 0:
            named.append(f"{hidden} thread(s) that Python does not know")
    return named + [_describe(descriptor) for descriptor in sorted(open_sockets() - before)]


def _describe(descriptor: int) -> str:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            try:
                return f"socket {found.getsockname()} to {found.getpeername()}"
            except OSError:
                return f"socket {found.getsockname()}"
    except OSError:
        return "event queue"


class ForkServer:
    """Forks children at the parent's request.

    Parameters:
        control: the parent's end of it says: fork, signal; this one says: ready, forked, ended.
        orders: what the parent wrote down: ``setup``, ``main``.
        bare: the setup is run in each child.
    """

    def __init__(self, control: socket.socket, orders: dict[str, Any], bare: bool) -> None:
        self._control = control
        self._setup = orders["setup"] if bare else None
        self._children: dict[int, int] = {}
        self._wake, self._bell = socket.socketpair()
        for end in (self._wake, self._bell):
            end.setblocking(False)

    def serve(self) -> None:
        """Work until the parent has gone; then end the children."""
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        with contextlib.suppress(BlockingIOError):
                            self._wake.recv(4096)
                        self._reap()
                    elif not self._obey(selector):
                        self._end()
                        return

    def _obey(self, selector: selectors.BaseSelector) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, 65536, 2)
        except ConnectionError:
            return False
        if not message:
            return False
        order, child, extra = marshal.loads(message)
        if order == "fork":
            self._fork(child, descriptors, selector)
        elif order == "signal" and child in self._children:
            os.kill(self._children[child], extra)
        return True

    def _fork(self, child: int, descriptors: list[int], selector: selectors.BaseSelector) -> None:
        ends = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            _live(server, self._setup, ends, [selector, self._control, self._wake, self._bell])
        for end in ends:
            end.close()
        if pid < 0:
            self._tell("ended", child, None)
        else:
            self._children[child] = pid
            self._tell("forked", child, pid)

    def _reap(self) -> None:
        children = {pid: child for child, pid in self._children.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in children:
                del self._children[children[pid]]
                self._tell("ended", children[pid], os.waitstatus_to_exitcode(status))

    def _tell(self, what: str, child: int, extra: int | None) -> None:
        with contextlib.suppress(OSError):  # the parent has gone: that is noticed where it is read
            self._control.send(marshal.dumps((what, child, extra)))

    def _end(self) -> None:
        deadline = time.monotonic() + GRACE
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.005)
        for pid in self._children.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._children.values():
            os.waitpid(pid, 0)


def _nothing(signum: int, frame: FrameType | None) -> None:
    pass


def _live(server: int, setup: Any, ends: list[socket.socket], others: list[Any]) -> NoReturn:
    """Be a child, and never return into the server's code."""
    code = 1
    try:
        die_with(server)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            other.close()
        child = Child(*ends)
        try:
            run_setup(setup)
        except BaseException:
            child.fail(traceback.format_exc())
        else:
            child.serve()
            for act in LAST_ACTS:
                act()
        code = 0
    except ConnectionError:
        code = 0  # the parent has gone
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _calm_signals() -> None:
    """Undo what an import did to the signals that matter here."""
    for number in TERMINAL:
        signal.signal(number, _nothing)
    signal.signal(INTERRUPT, _nothing)


def main(control_number: int, orders_number: int, parent: int, bare: bool) -> None:
    """Be the server."""
    die_with(parent)
    _calm_signals()
    with open(os.dup(orders_number), "rb") as file:
        file.seek(0)
        orders = marshal.load(file)
    control = socket.socket(fileno=control_number)
    frames.use_main(orders["main"])
    if not bare:
        before = open_sockets()
        try:
            run_setup(orders["setup"])
        except BaseException:
            control.send(marshal.dumps(("failed", 0, traceback.format_exc()[-LONGEST:])))
            os._exit(1)  # threads that the setup started must not hold it up
        found = leftovers(before)
        if found:
            control.send(marshal.dumps(("bare", 0, found[:50])))
            for number in (control_number, orders_number):
                os.set_inheritable(number, True)
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "bare"])
    os.close(orders_number)
    os.set_inheritable(control_number, False)
    _calm_signals()
    gc.collect()
    gc.freeze()  # so that a child's collections leave the shared pages alone
    control.send(marshal.dumps(("ready", 0, None)))
    ForkServer(control, orders, bare).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["bare"])
