"""What came of each test, with each worker: written by the suite's pytest, kept, and compared.

While the suite runs, its plugin appends one JSON object per line to a file: ``{"test": …, "outcome": …}``
after each phase of a test, ``{"family": [pids]}`` when the worker has started, and ``{"dead": [pids],
"test": …}`` when some of them have died.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["GOOD", "Outcomes", "missed", "table"]

GOOD = ("passed", "xpassed")
"""The outcomes of a test that did what it says."""
_RANK = {"passed": 0, "xpassed": 0, "skipped": 1, "xfailed": 2, "failed": 3}
"""Of a test's phases and subtests, the gravest counts."""


@dataclass
class Outcomes:
    """Of one worker.

    Parameters:
        tests: test → outcome.
        deaths: in words, of worker processes.
        families: the process ids of the workers that were started.
    """

    tests: dict[str, str] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    families: list[list[int]] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Add what the suite's plugin wrote; a test that is there already is replaced."""
        fresh: dict[str, str] = {}
        for line in path.read_text().splitlines():
            told = json.loads(line)
            if "family" in told:
                self.families.append(told["family"])
            elif "dead" in told:
                self.deaths.append(f"processes {told['dead']} died by the end of {told['test']}")
            elif told["outcome"] == "rerun":
                fresh.pop(told["test"], None)
            else:
                before, now = fresh.get(told["test"], "passed"), told["outcome"]
                fresh[told["test"]] = before if _RANK[before] > _RANK[now] else now
        self.tests.update(fresh)

    @property
    def failed(self) -> list[str]:
        """The tests that failed."""
        return [test for test, outcome in self.tests.items() if outcome == "failed"]

    def keep(self, path: Path) -> None:
        """Write the tests' outcomes to a file, over those that it has of the same tests."""
        kept = Outcomes.kept(path).tests | self.tests
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")

    @classmethod
    def kept(cls, path: Path) -> Outcomes:
        """What was kept; nothing where there is no such file."""
        return cls(json.loads(path.read_text())) if path.exists() else cls()


def missed(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """The tests that Celery's worker passes and ours doesn't."""
    return [test for test, outcome in ours.items() if outcome not in GOOD and theirs.get(test) in GOOD]


def table(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Both side by side: the numbers, and the tests whose outcomes differ or that both fail."""
    lines = [f"{'':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'of':>6}"]
    for name, tests in (("greenq", ours), ("celery", theirs)):
        if tests:
            lines.append(f"{name:10}{_numbers(tests)}")
        else:
            lines.append(f"{name:10}(was not run; --worker celery gives what to compare with)")
    both = ours.keys() & theirs.keys()
    lines += _listed("passed by Celery's worker only", missed(ours, theirs), ours, theirs)
    lines += _listed("passed by greenq's only", missed(theirs, ours), theirs, ours)
    neither = [test for test in ours if test in both and ours[test] == theirs[test] == "failed"]
    lines += _listed("failed by both", neither, ours, theirs)
    if not theirs:
        lines += _listed("failed", [test for test in ours if ours[test] == "failed"], ours, theirs)
    return "\n".join(lines)


def _numbers(tests: Mapping[str, str]) -> str:
    counts = Counter(tests.values())
    passed = sum(counts[one] for one in GOOD)
    left = len(tests) - passed - counts["failed"]
    return f"{passed:8}{counts['failed']:8}{left:9}{len(tests):6}"


def _listed(
    title: str, tests: Iterable[str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> list[str]:
    named = [f"  {test} ({ours[test]})" for test in sorted(tests)]
    return [f"{title}:", *named] if named else []
