"""One connection to a Redis server, used by one caller at a time."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket as plain_socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from greenq.dialing import places, unsent, watch
from greenq.redis.address import Address
from greenq.redis.failures import Failure, Late, Refused, Unreachable, refusal
from greenq.redis.resp import MORE, PUSHES, ProtocolError, ReplyError, pack_all, reader
from greenq.redis.tlssocket import TlsSocket
from greenq.redis.wire import wire_of
from greenq.tls import reason
from pools import native
from pools.wakeup import current_hub

__all__ = ["LONG_IDLE", "Link"]

CONNECT_WITHIN = 5.0
"""Seconds to connect and log in: a network that swallows everything must not use up a caller's deadline."""
DOUBT_AFTER, DOUBT_FOR = 2.0, 0.5
"""Seconds of waiting for an answer after which another connection is asked whether the server is there; and
how long the answer may still be on its way if it is."""
LONG_IDLE = 0.2
"""Seconds after which a connection is looked at before it is used again: the server may have ended it."""


def socket_class(off_hub: bool) -> Any:
    """The class of sockets that let the calling thread's world go on while they wait."""
    here = None if off_hub else current_hub()
    if here is None:
        return native.original("socket", "socket")
    name = "gevent.socket" if here[0] == "gevent" else "eventlet.green.socket"
    return importlib.import_module(name).socket


class Link:
    """A connection that has logged in.

    Parameters:
        deadline: on the monotonic clock, for connecting, which gets `CONNECT_WITHIN` seconds at most.
        off_hub: wait as a native thread, whatever hub the calling thread has.
        host: a server instead of the address's own, as Sentinel names it.

    Attributes:
        pushes: what came without being asked for; whoever reads takes it out.
        watched: whoever uses it again keeps here what the server tells it of.

    Raises:
        Unreachable: nobody answers there.
        Refused: the server does not let us in.
    """

    def __init__(
        self,
        address: Address,
        deadline: float,
        *,
        off_hub: bool = False,
        host: tuple[str, int] | None = None,
    ) -> None:
        self.address = address
        self.pid = os.getpid()
        self.pushes: list[Any] = []
        self.watched: object = None
        self.used = 0.0
        self._reader = reader()
        self._host = host or (address.hosts[0] if address.hosts else None)
        where = address.path or "{}:{}".format(*(self._host or ("", 0)))
        self._where = where
        self._off_hub = off_hub
        deadline = min(deadline, time.monotonic() + CONNECT_WITHIN)
        try:
            self._wire = wire_of(self._connect(deadline), where)
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(
                f"nobody answers at {where} ({reason(error)}): start the server, or correct the address"
            ) from error
        self.send = self._wire.send
        """Send packed commands; see `Wire.send`."""
        self.send_beside = self._wire.send_beside
        """The same while another thread waits for what comes; see `Wire.send_beside`."""
        try:
            self._greet(deadline)
        except BaseException:
            self.close()
            raise

    def _connect(self, deadline: float) -> Any:
        make = socket_class(self._off_hub)
        if self.address.path is not None:
            return _dial(make, plain_socket.AF_UNIX, self.address.path, deadline)
        assert self._host is not None
        problem: OSError | None = None
        found = places(*self._host, deadline)
        for left, (family, _, _, place) in zip(range(len(found), 0, -1), found, strict=True):
            now = time.monotonic()
            try:
                made = _dial(make, family, place, now + (deadline - now) / left)
            except OSError as error:
                problem = error
                continue
            made.settimeout(max(0.001, deadline - time.monotonic()))
            if self.address.tls is None:
                return made
            try:
                return TlsSocket(made, self.address.tls, self._host[0], deadline)
            except BaseException:
                made.close()
                raise
        raise problem or OSError("the name has no address")

    def _greet(self, deadline: float) -> None:
        address = self.address
        hello: list[Any] = ["HELLO", "3"]
        if address.password is not None:
            hello += ["AUTH", address.user or "default", address.password]
        commands = [hello, ["CLIENT", "SETNAME", "greenq"]]
        if address.db:
            commands.append(["SELECT", address.db])
        replies = self.call(commands, deadline, sure=True)
        for reply in (replies[0], *replies[2:]):
            if isinstance(reply, ReplyError):
                refused = refusal(str(reply))
                raise Refused(f"{self._where}: {refused}", refused.code)

    # ── commands and replies ─────────────────────────────────────────────────────────────────────────────

    def exchange(self, data: bytes, count: int, deadline: float, sure: bool = False) -> list[Any]:
        """Send packed commands in one go and read their replies, errors that the server answered among them.

        Parameters:
            count: how many replies there will be; pushes are put aside.
            sure: never doubt the connection.

        Raises:
            Late, Unreachable, Failure: the link is of no more use.
        """
        self.send(data, deadline)
        gets, replies = self._reader.gets, []
        while True:
            try:
                reply = gets()
            except (ProtocolError, TypeError) as error:
                raise self._no_redis(error) from error
            if reply is MORE:
                until = time.monotonic() + DOUBT_AFTER
                try:
                    self._reader.feed(self._wire.receive(deadline if sure else min(until, deadline)))
                except Late:
                    if sure or until >= deadline:
                        raise
                    self._doubt(deadline)
            elif type(reply) in PUSHES:
                self.pushes.append(reply)
            else:
                replies.append(reply)
                if len(replies) == count:
                    self.used = time.monotonic()
                    return replies

    def call(self, commands: Sequence[Sequence[Any]], deadline: float, sure: bool = False) -> list[Any]:
        """Pack commands, and exchange them for their replies."""
        return self.exchange(pack_all(commands), len(commands), deadline, sure)

    def next(self, deadline: float) -> Any:
        """The next thing that comes, be it a reply or not.

        Raises:
            Late, Unreachable, Failure: the link is of no more use.
        """
        while True:
            try:
                reply = self._reader.gets()
            except (ProtocolError, TypeError) as error:
                raise self._no_redis(error) from error
            if reply is not MORE:
                return reply
            self._reader.feed(self._wire.receive(deadline))

    def push(self, deadline: float) -> bool:
        """Wait until something comes that nobody asked for; False if nothing did until the deadline."""
        while not self.pushes:
            try:
                reply = self.next(deadline)
            except Late:
                return False
            if type(reply) in PUSHES:
                self.pushes.append(reply)
                self.used = time.monotonic()  # it is alive: no need to look
        return True

    def _no_redis(self, error: Exception) -> Failure:
        # TypeError is what hiredis makes of a map with a list as key.
        return Failure(f"what answers at {self._where} is no Redis server ({error})", True)

    def _doubt(self, deadline: float) -> None:
        """Wait on for an answer, but not on a connection that the network has forgotten.

        Such a one stays open and silent for ever, while a busy server is silent on all of them. Redis works
        off one command after the other: one that answers to others has answered to us, if it heard us.
        """
        while True:
            waiting = unsent(self._wire.socket.fileno())
            if self._answers_others() and not 0 < unsent(self._wire.socket.fileno()) < waiting:
                with contextlib.suppress(Late):
                    self._reader.feed(self._wire.receive(time.monotonic() + DOUBT_FOR))
                    return
                raise Unreachable(
                    f"the connection to {self._where} was lost on the way: it answers others, not us", True
                )
            until = time.monotonic() + DOUBT_AFTER
            try:
                self._reader.feed(self._wire.receive(min(until, deadline)))
                return
            except Late:
                if until >= deadline:
                    raise

    def _answers_others(self) -> bool:
        """Whether the server carries out a script that comes by another connection."""
        deadline = time.monotonic() + DOUBT_AFTER
        try:
            other = Link(self.address, deadline, off_hub=self._off_hub, host=self._host)
        except Refused as refused:
            return refused.code != "BUSY"
        except Failure:
            return False
        try:
            # A script, as what we wait for mostly is: where those have to wait, it has to, too.
            reply = other.call([("EVAL", "return 1", 0)], deadline, sure=True)[0]
            return not (isinstance(reply, ReplyError) and str(reply).startswith("BUSY"))
        except Failure:
            return False
        finally:
            other.close()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def stale(self) -> bool:
        """Whether it was idle for long and the server has ended it, or somebody else's fork owns it."""
        if self.pid != os.getpid():
            return True
        if time.monotonic() - self.used < LONG_IDLE:
            return False
        return self._ended()

    def _ended(self) -> bool:
        """Look without waiting, past whatever made the socket green."""
        try:
            look = native.original("socket", "socket")(fileno=os.dup(self._wire.socket.fileno()))
        except (OSError, ValueError):
            return True
        try:
            return not look.recv(1, plain_socket.MSG_PEEK | plain_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            look.close()

    def interrupt(self) -> None:
        """Make whoever reads go on with an error; from any thread."""
        try:
            self._wire.socket.shutdown(plain_socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._wire.close()


def _dial(make: Any, family: int, place: Any, deadline: float) -> Any:
    made = make(family, plain_socket.SOCK_STREAM)
    try:
        made.settimeout(max(0.001, deadline - time.monotonic()))
        if family != plain_socket.AF_UNIX:
            watch(made)
        made.connect(place)
    except BaseException:
        made.close()
        raise
    return made
