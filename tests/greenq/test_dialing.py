"""Looking up hosts with a deadline, and connections whose other machine is gone."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from greenq import dialing
from greenq.dialing import places, unsent, watch
from greenq.testing.messages import PATIENCE, until


def soon() -> float:
    return time.monotonic() + PATIENCE


def test_an_address_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "_Lookup", None)
    [(family, kind, _, place)] = places("127.0.0.1", 80, soon())
    assert (family, kind, place) == (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 80))
    assert places("::1", 80, soon())[0][0] == socket.AF_INET6


def test_a_name_is_found() -> None:
    assert ("127.0.0.1", 80) in [place for *_, place in places("localhost", 80, soon())]
    assert not dialing._lookups


@pytest.mark.parametrize("name", ["nobody.invalid", "a" * 300, "b\N{SNOWMAN}" * 100, "two..dots"])
def test_a_name_that_nobody_has_is_an_error(name: str) -> None:
    with pytest.raises(OSError, match=r"(?i)name"):
        places(name, 80, soon())
    assert not dialing._lookups


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    answer = threading.Event()
    really = dialing._resolve

    def slow(host: str, port: int, flags: int) -> list[dialing.Place]:
        if flags:
            return really(host, port, flags)
        asked.append(host)
        answer.wait(PATIENCE)
        return really("127.0.0.1", port, 0)

    monkeypatch.setattr(dialing, "_resolve", slow)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            places("slow.example", 80, time.monotonic() + 0.1)
    assert asked == ["slow.example"], "one question at a time, or threads would pile up"
    answer.set()
    until(lambda: not dialing._lookups, "the answer")
    assert places("slow.example", 80, soon())[0][3] == ("127.0.0.1", 80)
    assert len(asked) == 2


def test_a_watched_connection_tells_what_is_not_confirmed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        watch(client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        other, _ = server.accept()
        client.sendall(b"x")
        until(lambda: unsent(client.fileno()) == 0, "the confirmation")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * 100_000_000)
        assert unsent(client.fileno()) > 0
        other.close()
    assert unsent(client.fileno()) == 0
