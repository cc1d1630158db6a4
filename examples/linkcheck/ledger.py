"""What a check has seen so far, in a temporary SQLite file: memory stays small however large the site is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["DeadLink", "Ledger", "Target", "Totals"]

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE urls (
    id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, host TEXT NOT NULL, inside INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, problem TEXT,
    is_page INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX waiting ON urls (inside, state, host);
CREATE TABLE links (
    target INTEGER NOT NULL, fragment TEXT NOT NULL, source INTEGER NOT NULL,
    PRIMARY KEY (target, fragment, source)
) WITHOUT ROWID;
CREATE TABLE anchors (page INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (page, name)) WITHOUT ROWID;
"""
_NEW, _SENT, _DONE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Target:
    """An address to check."""

    id: int
    url: str
    host: str
    inside: bool


@dataclass(frozen=True, slots=True)
class DeadLink:
    """A link that leads nowhere.

    Attributes:
        url: what is linked to, with its fragment if that is what is missing.
        problem: why it is dead.
        sources: the pages that link to it.
    """

    url: str
    problem: str
    sources: list[str]


@dataclass(frozen=True, slots=True)
class Totals:
    """How much was seen.

    Attributes:
        links: distinct pairs of a page and what it links to, fragments told apart.
        pages: HTML pages that were read.
        addresses: distinct addresses that were asked for.
        unchecked: distinct outside addresses that were only listed.
        tries: requests made, retries included.
    """

    links: int
    pages: int
    addresses: int
    unchecked: int
    tries: int


class Ledger:
    """Addresses, links between them, and how each address ended.

    Parameters:
        path: the SQLite file to make.
        scope: addresses that begin with it are inside the site.
    """

    def __init__(self, path: Path, scope: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_TABLES)
        self._scope = scope

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add(self, urls: Iterable[str]) -> None:
        """Note addresses to check; known ones are left as they are."""
        self._database.executemany(
            "INSERT OR IGNORE INTO urls (url, host, inside) VALUES (?, ?, ?)",
            ((url, urlsplit(url).netloc, url.startswith(self._scope)) for url in urls),
        )

    def next_inside(self, most: int) -> list[Target]:
        """Up to `most` addresses of the site that have not been sent yet."""
        return self._next(f"inside = 1 AND state = {_NEW}", (), most)

    def next_outside(self, most: int, busy: Mapping[str, int], per_host: int) -> list[Target]:
        """Up to `most` outside addresses, keeping to `per_host` at once with those in `busy` counted."""
        chosen: list[Target] = []
        hosts = self._database.execute(
            f"SELECT DISTINCT host FROM urls WHERE inside = 0 AND state = {_NEW}"
        ).fetchall()
        for (host,) in hosts:
            room = min(per_host - busy.get(host, 0), most - len(chosen))
            if room > 0:
                chosen += self._next(f"inside = 0 AND state = {_NEW} AND host = ?", (host,), room)
        return chosen

    def sent(self, targets: Iterable[Target]) -> None:
        """Note that these are being checked."""
        self._database.executemany(
            f"UPDATE urls SET state = {_SENT} WHERE id = ?", ((t.id,) for t in targets)
        )

    def record(self, ended: Iterable[tuple[Target, Mapping[str, Any]]]) -> None:
        """Note how checks ended, as `tasks` returns it, and what links they found."""
        self._database.execute("BEGIN")
        for target, found in ended:
            anchors, links = found.get("anchors"), found.get("links", {})
            self._database.execute(
                f"UPDATE urls SET state = {_DONE}, problem = ?, is_page = ?, tries = ? WHERE id = ?",
                (found["problem"], anchors is not None, found["tries"], target.id),
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO anchors VALUES (?, ?)", ((target.id, name) for name in anchors or ())
            )
            self.add(links)
            self._database.executemany(
                "INSERT OR IGNORE INTO links SELECT id, ?, ? FROM urls WHERE url = ?",
                ((point, target.id, url) for url, points in links.items() for point in points),
            )
        self._database.execute("COMMIT")

    def progress(self) -> tuple[int, int]:
        """How many addresses of those known and meant to be checked are done, and how many there are."""
        done, known = self._database.execute(
            f"SELECT total(state = {_DONE}), count(*) FROM urls WHERE inside OR state"
        ).fetchone()
        return int(done), int(known)

    def sample(self, most: int) -> list[str]:
        """Addresses that work, spread evenly over all of them."""
        rows = self._database.execute(
            f"SELECT url FROM urls WHERE state = {_DONE} AND problem IS NULL ORDER BY id"
        ).fetchall()
        step = max(1.0, len(rows) / most)
        return [rows[int(i * step)][0] for i in range(min(most, len(rows)))]

    def totals(self) -> Totals:
        """How much was seen."""
        one = self._database.execute(
            f"SELECT (SELECT count(*) FROM links), total(is_page), total(state = {_DONE}),"
            f" total(NOT inside AND state = {_NEW}), total(tries) FROM urls"
        ).fetchone()
        return Totals(*map(int, one))

    def dead(self) -> Iterator[DeadLink]:
        """The dead links in the order of their addresses."""
        found = self._database.execute(
            """
            SELECT id, url, '', problem FROM urls WHERE problem IS NOT NULL
            UNION ALL
            SELECT DISTINCT id, url, fragment, 'no such anchor on the page'
            FROM links JOIN urls ON id = target
            WHERE is_page AND problem IS NULL AND fragment != ''
                AND NOT EXISTS (SELECT 1 FROM anchors WHERE page = target AND name = fragment)
            ORDER BY 2, 3
            """
        )
        for target, url, fragment, problem in found.fetchall():
            rows = self._database.execute(
                "SELECT DISTINCT url FROM links JOIN urls ON id = source"
                " WHERE target = ? AND (? = '' OR fragment = ?) ORDER BY url",
                (target, fragment, fragment),
            )
            yield DeadLink(f"{url}#{fragment}" if fragment else url, problem, [source for (source,) in rows])

    def _next(self, where: str, values: tuple[Any, ...], most: int) -> list[Target]:
        rows = self._database.execute(
            f"SELECT id, url, host, inside FROM urls WHERE {where} LIMIT ?", (*values, most)
        )
        return [Target(row[0], row[1], row[2], bool(row[3])) for row in rows]
