"""What ``left | right`` makes of two signatures.

Source: Celery's manual, "Canvas: Designing Work-flows", and the rules of celery/canvas.py.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from greenq.canvas.chain import chain
from greenq.canvas.chord import chord
from greenq.canvas.folding import unrolled
from greenq.canvas.group import group
from greenq.canvas.signature import Signature

__all__ = ["pipe"]


def pipe(left: Any, right: Any) -> Any:
    """Combine two signatures.

    A task and a task make a chain; a chain goes on with what follows it; a group and what follows it make a
    chord, and what follows a chord follows its body. A group of one counts as its member, an empty one as
    nothing.
    """
    if not isinstance(right, Signature):
        return NotImplemented
    if isinstance(left, chain):
        return _chain_and(left, right)
    if isinstance(left, group):
        return left if right.is_void() else chord(left, right, app=left._found_app())
    right = unrolled(right)
    if isinstance(left, chord) and not isinstance(right, group | chain):
        made = left.clone()
        made.body = made.body | right
        return made
    return _chain([left, *(right.unchain_tasks() if isinstance(right, chain) else [right])], left)


def _chain_and(left: chain, right: Any) -> Any:
    right = unrolled(right)
    if right.is_void():
        return left
    if isinstance(right, chain):
        return reduce(pipe, right.unchain_tasks(), left)
    last = left.tasks[-1] if left.tasks else None
    if isinstance(right, group):
        steps = left.unchain_tasks()
        if not steps:
            return right
        if isinstance(last, chord):
            steps[-1].body = steps[-1].body | right
            return _chain(steps, left)
        return _chain([*steps, right], left)
    if isinstance(last, group):
        made = left.clone()
        made.tasks[-1] = chord(made.tasks[-1], right, app=left._found_app())
        if len(made.tasks) > 1 and isinstance(made.tasks[-2], chord):
            # Two chords in a row are one, whose body goes on with the other.
            follower = made.tasks.pop()
            made.tasks[-1].body = made.tasks[-1].body | follower
        return made
    if isinstance(last, chord) and not isinstance(right, chord):
        made = left.clone()
        made.tasks[-1].body = made.tasks[-1].body | right
        return made
    return _chain([*left.unchain_tasks(), right], left)


def _chain(steps: list[Any], like: Signature) -> chain:
    # With an option given, the steps are taken as they are.
    return chain(steps, app=like._found_app())


Signature.pipe = staticmethod(pipe)
