"""What must hold between settings once each is right by itself, and what a type alone does not say of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from greenq.config.keys import leaves, root
from greenq.config.masking import quoted
from greenq.config.mistakes import Mistakes, Place
from greenq.config.schema import Route, Settings
from greenq.config.suggestions import closest
from greenq.config.units import write_seconds

__all__ = ["check"]

Finding = tuple[tuple[str, ...], str]
"""The keys involved, and the message. The first of them that somebody set is where the mistake is shown."""


def check(
    settings: Settings,
    places: Mapping[str, Place],
    failed: set[str],
    mistakes: Mistakes,
    names: Mapping[str, Sequence[str]] | None,
) -> None:
    """Find the mistakes that only several settings together make.

    Parameters:
        settings: as resolved.
        places: where each was written.
        failed: keys that already have a mistake; nothing is concluded from them.
        mistakes: gets what is found.
        names: what there is for ``pool``, ``serializer`` and ``compression``; what is missing is not checked.
    """
    unknown = list(_names(settings, names or {}))
    _report(unknown, places, failed, mistakes)
    # A misspelled name in accept is one mistake, not also one for each serializer that it leaves out.
    doubtful = failed | {_whole(key) for keys, _ in unknown for key in keys}
    _report(
        [
            *_limits(settings, places), *_accepted(settings), *_routes(settings), *_queues(settings),
            *_health(settings), *_autoscale(settings),
        ],
        places, doubtful, mistakes,
    )  # fmt: skip


def _report(
    findings: list[Finding], places: Mapping[str, Place], failed: set[str], mistakes: Mistakes
) -> None:
    for keys, message in findings:
        if failed.isdisjoint(map(_whole, keys)):
            mistakes.add(next((places[key] for key in keys if key in places), Place("default")), message)


def _whole(key: str) -> str:
    """The key whose list an item is in: ``accept`` of ``accept[0]``."""
    return key.partition("[")[0]


def _limits(settings: Settings, places: Mapping[str, Place]) -> Iterator[Finding]:
    soft, hard = settings.tasks.soft_time_limit, settings.tasks.time_limit
    if soft is not None and hard is not None and soft >= hard:
        other = places.get("tasks.time_limit")
        where = f" ({other})" if other and other != places.get("tasks.soft_time_limit") else ""
        yield (
            ("tasks.soft_time_limit", "tasks.time_limit"),
            f"tasks.soft_time_limit is {write_seconds(soft)}; make it shorter than tasks.time_limit, "
            f"which is {write_seconds(hard)}{where}",
        )


def _autoscale(settings: Settings) -> Iterator[Finding]:
    text = settings.worker.autoscale
    if text is None:
        return
    found = re.fullmatch(r"\s*(\d{1,7})\s*(?:,\s*(\d{1,7})\s*)?", text)
    if found is None or not 1 <= int(found[2] or 1) <= int(found[1]):
        yield (
            ("worker.autoscale",),
            f"worker.autoscale is {quoted(text)}; write the most and the least number of tasks: 100,10",
        )
    elif settings.worker.concurrency is not None:
        yield (
            ("worker.autoscale", "worker.concurrency"),
            "worker.autoscale chooses how many tasks run at once, and so does worker.concurrency; "
            "delete one of them",
        )


def _accepted(settings: Settings) -> Iterator[Finding]:
    chosen = {
        "tasks.serializer": settings.tasks.serializer,
        "results.serializer": settings.results.serializer,
    }
    for i, route in enumerate(settings.routes):
        if route.serializer is not None:
            chosen[f"routes[{i}].serializer"] = route.serializer
    for name, queue in settings.queues.items():
        if queue.serializer is not None:
            chosen[f"queues.{name}.serializer"] = queue.serializer
    for path, serializer in chosen.items():
        if serializer not in settings.accept:
            what = (
                "results could not be read"
                if path == "results.serializer"
                else "its own messages would be refused"
            )
            yield (
                (path, "accept"),
                f"{path} is {serializer}, which accept does not list, so {what}; "
                f"write accept: [{', '.join([*settings.accept, serializer])}]",
            )


def _routes(settings: Settings) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for i, route in enumerate(settings.routes):
        if problem := _incomplete(route):
            yield (
                (f"routes[{i}].match", f"routes[{i}].function", f"routes[{i}].queue", "routes"),
                (f"routes[{i}] {problem}"),
            )
            continue
        if route.match is None:
            continue
        earlier = seen.get("*", seen.get(route.match))
        if earlier is not None:
            pattern = settings.routes[earlier].match
            yield (
                (f"routes[{i}].match", "routes"),
                f"routes[{i}] is never reached, since routes[{earlier}] takes {quoted(pattern)} first; "
                "put it earlier, or delete it",
            )
        seen.setdefault(route.match, i)


def _incomplete(route: Route) -> str | None:
    """What keeps a route from meaning anything."""
    said = any(
        getattr(route, name) is not None
        for name in ("queue", "exchange", "routing_key", "priority", "serializer", "compression")
    )
    if route.function is not None:
        both = route.match is not None or said
        return "has a function, which says all by itself; delete its other keys" if both else None
    if route.match is None:
        return "needs match, the name of a task or a pattern, or function"
    if not said:
        return "says nothing about its tasks; give it a queue"
    if route.match.startswith("re:"):
        try:
            re.compile(route.match.removeprefix("re:"))
        except re.error as error:
            return f"has a regular expression that cannot be read: {error}"
    return None


def _queues(settings: Settings) -> Iterator[Finding]:
    yield from () if settings.tasks.create_missing_queues else _missing(settings)
    for name, queue in settings.queues.items():
        path = f"queues.{name}"
        if queue.broadcast and queue.exchange_type not in ("direct", "fanout"):
            yield (
                (f"{path}.exchange_type", "queues"),
                (f"{path} is a broadcast queue, so its exchange is a fanout; delete exchange_type"),
            )
        elif not queue.broadcast and queue.exchange is None and queue.exchange_type != "direct":
            yield (
                (f"{path}.exchange_type", "queues"),
                (f"{path} has an exchange_type, but no exchange; name one"),
            )


def _missing(settings: Settings) -> Iterator[Finding]:
    """Queues that are used and not listed, where all must be."""
    known = {*settings.queues, settings.tasks.queue}
    used = [(f"worker.queues[{i}]", name) for i, name in enumerate(settings.worker.queues)]
    used += [(f"routes[{i}].queue", route.queue) for i, route in enumerate(settings.routes) if route.queue]
    for path, name in used:
        if name not in known:
            close = closest(name, known)
            mend = f"did you mean {close}?" if close else "add it there"
            yield (
                (path, path.partition("[")[0]),
                (
                    f"{path} is {quoted(name)}, which queues does not list; tasks.create_missing_queues is "
                    f"off; {mend}"
                ),
            )


def _health(settings: Settings) -> Iterator[Finding]:
    place = settings.worker.health
    if place is None or "/" in place:
        return
    _, colon, port = place.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) < 65536):
        yield (
            ("worker.health",),
            f"worker.health is {quoted(place)}, where nothing can listen; write host:port, such as "
            "127.0.0.1:8000, or the path of a Unix socket",
        )


def _names(settings: Settings, names: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    known = dict(names)
    for unit, own in (("serializer", settings.serializers), ("compression", settings.compressions)):
        if unit in known:
            known[unit] = [*known[unit], *own]
    chosen: list[tuple[str, str, str]] = []
    for key in leaves(root()):
        if key.unit in known and "." in key.path:
            section, _, name = key.path.partition(".")
            chosen.append((key.path, key.unit, getattr(getattr(settings, section), name)))
    chosen += [(f"accept[{i}]", "serializer", name) for i, name in enumerate(settings.accept)]
    for queue, of_queue in settings.queues.items():
        chosen.append((f"queues.{queue}.serializer", "serializer", of_queue.serializer or ""))
        chosen.append((f"queues.{queue}.compression", "compression", of_queue.compression or ""))
    for i, route in enumerate(settings.routes):
        chosen.append((f"routes[{i}].serializer", "serializer", route.serializer or ""))
        chosen.append((f"routes[{i}].compression", "compression", route.compression or ""))
    for path, unit, value in chosen:
        if value and unit in known and value not in known[unit]:
            close = closest(value, known[unit])
            mend = f"did you mean {close}?" if close else f"there are {', '.join(known[unit])}"
            yield (path,), f"{path.partition('[')[0]} names no {unit}: {quoted(value)}; {mend}"
