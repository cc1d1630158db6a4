"""The embedded database: one SQLite file that brokers and result stores of many processes share.

`share` gives this process's handle to a file; `messages`, `leases`, `upkeep` and `records` hold the
statements, each a function of a `Session` that a `Database` runs in the thread that owns the connection.
"""

from __future__ import annotations
