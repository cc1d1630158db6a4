"""What a check found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from examples.linkcheck.ledger import DeadLink, Totals

__all__ = ["Report"]

_SOURCES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Report:
    """The end of a check.

    Attributes:
        start: what was checked, as the user named it.
        dead: the dead links.
        totals: how much was seen.
        seconds: how long it took.
    """

    start: str
    dead: Sequence[DeadLink]
    totals: Totals
    seconds: float

    def relative_to(self, base: str) -> Report:
        """Name addresses under `base` by their path, as files of a directory."""

        def short(url: str) -> str:
            return url.removeprefix(base) or "index.html" if url.startswith(base) else url

        # The first page has two addresses, with and without its file's name.
        dead = [
            replace(d, url=short(d.url), sources=sorted({short(s) for s in d.sources})) for d in self.dead
        ]
        return replace(self, dead=dead)

    def text(self) -> str:
        """For people: each dead link, why, and where it is linked from."""
        lines: list[str] = []
        for dead in self.dead:
            lines.append(f"{dead.url}\n    {dead.problem}")
            lines += [f"    linked from {source}" for source in dead.sources[:_SOURCES_SHOWN]]
            more = len(dead.sources) - _SOURCES_SHOWN
            if more > 0:
                lines.append(f"    and from {_count(more, 'more page')}")
            if not dead.sources:
                lines.append("    where the check began")
        if lines:
            lines.append("")
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """The last lines of the report."""
        totals = self.totals
        dead = _count(len(self.dead), "dead link") if self.dead else "no dead link"
        lines = [
            f"{_count(totals.links, 'link')} on {_count(totals.pages, 'page')}: {dead}",
            f"{_count(totals.addresses, 'address', 'es')} checked in {self.seconds:.1f} s",
        ]
        if totals.unchecked:
            lines.append(
                f"{_count(totals.unchecked, 'outside address', 'es')} not checked; --external checks them too"
            )
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """For programs: everything, sources unabridged."""
        return {
            "start": self.start,
            "seconds": round(self.seconds, 3),
            "totals": asdict(self.totals),
            "dead": [asdict(dead) for dead in self.dead],
        }


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"
