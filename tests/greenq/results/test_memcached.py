"""Results in memcached: the contract on a real one."""

from __future__ import annotations

import socket

from greenq.testing.stores import NoChordsConformance, SharedStoreConformance
from tests.backends import memcached


class TestMemcached(SharedStoreConformance, NoChordsConformance):
    def address(self) -> str:
        with socket.create_connection(("127.0.0.1", memcached().port)) as connection:
            connection.sendall(b"flush_all\r\n")
            assert connection.recv(100) == b"OK\r\n"
        return f"cache+memcached://127.0.0.1:{memcached().port}/"
