"""The commands that only look.

Source: celery/worker/control.py: names, arguments and the shape of each answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from greenq.control.configuration import configuration_of, report_of
from greenq.control.memory import draw_objects, dump_memory, sample_memory
from greenq.control.panel import inspect_command
from greenq.control.state import ControlState

__all__: list[str] = []

SHOWN = ("exchange", "routing_key", "rate_limit")
"""What `registered` tells of each task, unless it is asked for something else."""


def truth(text: str) -> bool:
    """Read a yes or a no.

    Raises:
        ValueError: it is neither.
    """
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"say yes or no, not {text!r}")


@inspect_command(default_timeout=0.2)
def ping(state: ControlState, **_: Any) -> Any:
    """Answer, to show that it is there."""
    return {"ok": "pong"}


@inspect_command(alias="dump_active")
def active(state: ControlState, safe: bool | None = False, **_: Any) -> Any:
    """List the tasks that run."""
    return state.active(bool(safe))


@inspect_command(alias="dump_reserved")
def reserved(state: ControlState, **_: Any) -> Any:
    """List the tasks that wait in the worker for a free slot."""
    return state.reserved()


@inspect_command(alias="dump_schedule")
def scheduled(state: ControlState, **_: Any) -> Any:
    """List the next tasks that wait for their time: in the broker, so every worker of a queue tells them."""
    return state.scheduled()


@inspect_command(alias="dump_revoked")
def revoked(state: ControlState, **_: Any) -> Any:
    """List the ids of revoked tasks."""
    return state.revocations.ids()


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: ControlState, ids: Sequence[str] | str = (), **_: Any) -> Any:
    """Tell what becomes of tasks, by their ids."""
    return state.find([ids] if isinstance(ids, str) else list(ids))


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(
    state: ControlState, taskinfoitems: Sequence[str] | None = None, builtins: bool = False, **_: Any
) -> Any:
    """List the tasks that it can run."""
    tasks = state.app.tasks
    items = [item for item in taskinfoitems or SHOWN if isinstance(item, str) and not item.startswith("_")]
    names = sorted(name for name in tasks if builtins or not name.startswith("celery."))
    return [_described(tasks[name], items) for name in names]


def _described(task: Any, items: Sequence[str]) -> str:
    told = []
    for item in items:
        value = task.declared.get(item)
        if value is None:
            value = getattr(task.options, item, None)
        if value is None:
            value = getattr(task, item, None)
        if value is not None:
            told.append(f"{item}={value}")
    return f"{task.name} [{' '.join(told)}]" if told else str(task.name)


@inspect_command()
def stats(state: ControlState, **_: Any) -> Any:
    """Tell counters and sizes."""
    return state.stats()


@inspect_command()
def active_queues(state: ControlState, **_: Any) -> Any:
    """List the queues that it takes from."""
    return state.queues()


@inspect_command()
def clock(state: ControlState, **_: Any) -> Any:
    """Tell its logical clock."""
    return {"clock": state.clock.value}


@inspect_command(alias="dump_conf", args=[("with_defaults", truth)], signature="[include_defaults=False]")
def conf(state: ControlState, with_defaults: bool = False, **_: Any) -> Any:
    """Tell its configuration, secrets masked."""
    own = state.app.origin_configuration(bool(with_defaults))
    return configuration_of(state.app, bool(with_defaults)) if own is None else own


@inspect_command()
def report(state: ControlState, **_: Any) -> Any:
    """Tell versions and configuration, for bug reports."""
    return {"ok": report_of(state.app) + (state.app.origin_report() or "")}


@inspect_command(visible=False)
def hello(state: ControlState, from_node: str = "", revoked: Any = None, **_: Any) -> Any:
    """Tell a node that starts what is revoked, and the time."""
    if from_node == state.hostname:
        return None
    if revoked and isinstance(revoked, list | tuple | dict):
        state.revocations.add([id for id in revoked if isinstance(id, str)])
    return {"revoked": state.revocations.ids(), "clock": state.clock.forward()}


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────


@inspect_command()
def memsample(state: ControlState, **_: Any) -> Any:
    """Note how much memory the process has, and tell it."""
    return sample_memory(os.getpid())


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: ControlState, samples: int = 10, **_: Any) -> Any:
    """Tell what memsample has noted."""
    return dump_memory(os.getpid(), int(samples))


@inspect_command(
    default_timeout=60.0, args=[("type", str), ("num", int), ("max_depth", int)],
    signature="[object_type=Request [num=200 [max_depth=10]]]",
)  # fmt: skip
def objgraph(
    state: ControlState, type: str = "Request", num: int = 200, max_depth: int = 10, **_: Any
) -> Any:
    """Draw what keeps objects of a type alive (needs the package objgraph)."""
    return {"filename": draw_objects(type, int(num), int(max_depth))}
