"""Guess what a user meant by a name that does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from greenq.config.celery_names import celery_meaning
from greenq.config.keys import Section, leaves, root, variables
from greenq.config.masking import label
from greenq.config.mistakes import Wrong

__all__ = ["choose", "closest", "unknown_key", "unknown_variable"]


def closest(name: str, options: Iterable[str]) -> str | None:
    """The option that `name` is probably a misspelling of."""
    plain = {_plain(option): option for option in options}
    if _plain(name) in plain:
        return plain[_plain(name)]
    found = difflib.get_close_matches(_plain(name)[:80], plain, 1, 0.7)
    return plain[found[0]] if found else None


def choose(value: str, options: Sequence[str]) -> str:
    """The option that `value` names, its case aside.

    Raises:
        Wrong: it is none; names the closest, or all.
    """
    if value.lower() in options:
        return value.lower()
    close = closest(value, options)
    raise Wrong(f"must be one of {', '.join(options)}", f"did you mean {close}?" if close else "")


def unknown_key(name: str, section: Section, where: str) -> str:
    """The message for a key that a section does not have.

    Parameters:
        name: as the user wrote it.
        section: where they wrote it.
        where: the dotted path of that place, empty for the root.
    """
    path = f"{where}.{name}" if where else name
    return f"{label(path)} is no setting here; {_meant_by(name, section, where)}"


def unknown_variable(name: str) -> str:
    """The message for a ``GREENQ_`` variable that sets nothing."""
    rest = name.removeprefix("GREENQ_").lower()
    path = (celery_meaning(rest) or ("", ""))[0]
    unsettable = {
        _variable(key.path): key.path for key in leaves(root()) if _variable(key.path) not in variables()
    }
    meant = unsettable.get(name) or (path if path in unsettable.values() else None)
    if meant:
        return f"no variable can set {meant}; set it in the YAML file"
    found = [_variable(path)] if path else [v for v, key in variables().items() if key.name == rest]
    if not found:
        by_rest = {variable.removeprefix("GREENQ_"): variable for variable in variables()}
        close = closest(rest, by_rest)
        found = [by_rest[close]] if close else []
    mend = (
        f"did you mean {' or '.join(found)}?"
        if found
        else "unset it; `greenq config show` lists the settings"
    )
    return f"this variable sets nothing; {mend}"


def _variable(path: str) -> str:
    return f"GREENQ_{path.upper().replace('.', '_')}"


def _plain(name: str) -> str:
    """``maxTasks``, ``max-tasks`` and ``MAX_TASKS`` are all ``max_tasks``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").replace(" ", "_").lower()


def _meant_by(name: str, section: Section, where: str) -> str:
    if section.path == where:
        celery = _celery(name, where)
        if celery:
            return celery
        home = _home(name, where)
        if home:
            return home
    close = closest(name, section.members)
    if close:
        return f"did you mean {close}?"
    if section.path == where:
        elsewhere = closest(name, [key.name for key in leaves(root())])
        home = _home(elsewhere, where) if elsewhere else ""
        if elsewhere and home:
            return f"did you mean {elsewhere}? {home}"
    return f"there are {', '.join(section.members)}"


def _celery(name: str, where: str) -> str:
    """What Celery's setting of that name is here, also if half of the name is its section's."""
    prefixes = [
        "",
        *({"results": ["result_"], "tasks": ["task_"]}.get(where, [f"{where}_"]) if where else []),
    ]
    for prefix in prefixes:
        meaning = celery_meaning(prefix + name)
        if meaning is not None:
            path, remark = meaning
            known = f"Celery's {prefix}{label(name)}"
            return (
                f"{known} is {path} here" + (f": {remark}" if remark else "")
                if path
                else f"{known}: {remark}"
            )
    return ""


def _home(name: str, where: str) -> str:
    """Where a key of that very name, or dotted path, belongs."""
    plain = _plain(name)
    for key in leaves(root()):
        if key.path == plain and "." in plain:
            return f"write {key.name} under {key.path.rpartition('.')[0]}:"
    homes = [key.path.rpartition(".")[0] for key in leaves(root()) if key.name == plain]
    homes += [
        path for path, member in root().members.items() if isinstance(member, Section) and path == plain
    ]
    homes = [home for home in dict.fromkeys(homes) if home != where]
    if not homes:
        return ""
    what = "it" if plain == name else plain
    if plain in root().members:
        return f"{what} belongs at the top level, not under {where}:"
    return f"{what} belongs under {' or '.join(f'{home}:' for home in homes)}"
