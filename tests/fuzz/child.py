"""Judge a slice of the inputs in a process of its own, so that nothing can take the search with it.

    python -m tests.fuzz.child KIND SEED FIRST AFTER FILE

FILE always has the number of the input that is being judged. Prints the report as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from mmap import mmap
from struct import Struct

from tests.fuzz.search import Report, search

__all__ = ["NUMBER", "main", "peak"]

MEMORY = 2 << 30
"""Bytes of address space: a bomb that is not bounded ends in a MemoryError."""
NUMBER = Struct("<q")


def peak() -> float:
    """The most memory (MiB) that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(kind: str, seed: str, first: str, after: str, path: str) -> None:
    """Search, and print what was found."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with open(path, "r+b") as file, mmap(file.fileno(), NUMBER.size) as page:
        report: Report = search(
            kind, int(seed), int(first), int(after), lambda number: NUMBER.pack_into(page, 0, number)
        )
    told = {
        "count": report.count,
        "ends": report.ends,
        "finds": [asdict(find) for find in report.finds],
        "slowest": report.slowest,
        "peak": peak(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
