"""What keeps database drivers from waiting for ever on a connection that the network has forgotten."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["patience"]

LIBPQ = {
    "connect_timeout": 5, "keepalives_idle": 4, "keepalives_interval": 1, "keepalives_count": 3,
    "tcp_user_timeout": 30000,
}  # fmt: skip
MYSQL = {"connect_timeout": 5, "read_timeout": 30, "write_timeout": 30}
BY_DRIVER = {"psycopg": LIBPQ, "psycopg2": LIBPQ, "pymysql": MYSQL, "mysqldb": MYSQL}


def patience(driver: str, given: Collection[str]) -> dict[str, Any]:
    """Arguments for a driver's `connect`.

    Parameters:
        driver: as SQLAlchemy calls it; others than these are left as they are.
        given: arguments that the address has, which stay.

    Source: https://www.postgresql.org/docs/current/libpq-connect.html; PyMySQL's and mysqlclient's manuals.
    """
    return {name: value for name, value in BY_DRIVER.get(driver, {}).items() if name not in given}
