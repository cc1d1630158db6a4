"""The file that `greenq config init` writes: every setting, commented out, at its default."""

from __future__ import annotations

import textwrap

from greenq.config.keys import Key, Section, root
from greenq.config.written import written

__all__ = ["starter"]

WIDTH = 100

_HEAD = """\
# The configuration of greenq.
#
# Every setting is here with its default: delete the # before the ones you change.
# Times are written 250ms, 30s, 5m, 1h, 1d; sizes 64KiB, 10MB. ${NAME} and ${NAME:-default} take
# environment variables, and GREENQ_WORKER_POOL=threads sets worker.pool over this file.
#
# greenq config check   finds mistakes
# greenq config show    prints every value and where it came from
"""


def starter() -> str:
    """The text of an annotated greenq.yaml that changes nothing."""
    lines = [_HEAD]
    for member in root().members.values():
        if isinstance(member, Section):
            lines += _section(member)
        else:
            lines += [*_key(member, ""), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"# {section.about}", f"{section.path}:"]
    for member in section.members.values():
        assert isinstance(member, Key), "sections nest one deep"
        lines += _key(member, "  ")
    return [*lines, ""]


def _key(key: Key, indent: str) -> list[str]:
    about = key.help + (f" One of {', '.join(key.choices)}." if key.choices else "")
    about += f" Example: {key.example}" if key.example else ""
    comment = textwrap.wrap(about, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    return [*comment, f"{indent}#{key.name}: {written(key, key.default)}"]
