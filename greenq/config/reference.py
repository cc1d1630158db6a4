"""The tables of docs/configuration.md, made from the schema.

``python -m greenq.config.reference docs/configuration.md`` rewrites what stands between the page's markers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from greenq.config.celery_names import CELERY_NAMES
from greenq.config.keys import Key, Section, leaves, root
from greenq.config.units import write_bytes, write_seconds
from greenq.config.written import written

__all__ = ["refresh"]

_UNITS = {
    "seconds": "time",
    "bytes": "size",
    "url": "address",
    "dotted": "module:attribute",
    "class": "module:Class",
    "serializer": "serializer",
    "compression": "compression",
    "pool": "pool",
    "queue": "queue",
}
_KINDS = {"flag": "true or false", "count": "whole number", "number": "number", "text": "text"}


def refresh(page: str) -> str:
    """Put today's tables into the text of the manual's page.

    Parameters:
        page: MyST text with lines ``% begin NAME`` and ``% end NAME`` for each table.
    """
    for name, make in _TABLES.items():
        begin, end = f"\n% begin {name}\n", f"\n% end {name}\n"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end[1:] if rest.startswith(end[1:]) else end)
        if not (found and closed):
            raise ValueError(f"the page needs a line % begin {name} and a line % end {name} after it")
        page = f"{before}{begin}\n{make()}{end}{after}"
    return page


def _settings() -> str:
    """A table for each section, the keys of the root first."""
    top = [member for member in root().members.values() if isinstance(member, Key)]
    parts = [_table("Top level", "", top)]
    for member in root().members.values():
        if isinstance(member, Section):
            parts.append(_table(f"`{member.path}`", member.about, list(leaves(member))))
    for key in top:
        if key.record is not None:
            form = f"`{key.name}`: each entry"
            parts.append(_table(form, key.record.about, list(leaves(key.record))))
    return "\n".join(parts)


def _table(title: str, about: str, keys: list[Key]) -> str:
    lines = [f"### {title}", ""]
    lines += [about, ""] if about else []
    lines += ["| key | takes | default | |", "| --- | --- | --- | --- |"]
    for key in keys:
        default = "needed" if key.required else f"`{written(key, key.default)}`"
        about = key.help + (f" Example: `{key.example}`" if key.example else "")
        lines.append(f"| `{key.path or key.name}` | {_takes(key)} | {default} | {about} |")
    return "\n".join([*lines, ""])


def _takes(key: Key) -> str:
    """What a value is, with its bounds."""
    if key.choices:
        text = ", ".join(f"`{choice}`" for choice in key.choices)
    else:
        text = _UNITS.get(key.unit or "") or _KINDS.get(key.kind, "")
    if key.kind == "texts":
        text = f"list: {text}"
    elif key.kind == "records":
        text = "list of entries"
    elif key.kind in ("named_records", "named_texts", "named_values"):
        text = "entries by name"
    write: Callable[[float], str] = {"seconds": write_seconds, "bytes": lambda n: write_bytes(int(n))}.get(
        key.unit or "", lambda n: f"{n:,}"
    )
    if key.least and key.most is None:
        text += f", at least {write(key.least)}"
    elif key.most is not None:
        text += f", {write(key.least or 0)} to {write(key.most)}"
    return f"{text}, or null" if key.optional else text


def _celery() -> str:
    lines = ["| Celery | greenq | |", "| --- | --- | --- |"]
    for name, (path, remark) in sorted(CELERY_NAMES.items()):
        here = f"`{path}`" if path else "none"
        lines.append(f"| `{name}` | {here} | {remark} |")
    return "\n".join([*lines, ""])


_TABLES: Mapping[str, Callable[[], str]] = {"settings": _settings, "celery": _celery}

if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(refresh(path.read_text(encoding="utf-8")), encoding="utf-8")
