"""Signatures that came with a message: what the end of a task sends when it applies one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from greenq.canvas.composition import Composition
from greenq.canvas.ids import derived_ids
from greenq.canvas.signature import maybe_signature
from greenq.errors import GreenqError, MessageError
from greenq.request import Request
from greenq.sender import Sender
from greenq.shortrepr import shortrepr

__all__ = ["compose_signature"]


def compose_signature(
    app: Sender,
    signature: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    request: Request | None = None,
    seed: str | None = None,
    **overrides: Any,
) -> Composition:
    """Work out all that applying a signature sends, and tell nobody yet.

    Parameters:
        signature: as Celery serialises it, of any kind; it is not changed.
        args, kwargs: added to its own, unless it is immutable.
        request: of the task whose end sends it: parent and root of what is sent.
        seed: names the parent and what for; ids that are not fixed are derived from it, so that a second
            run of the same end repeats them. None: they are random.
        overrides: options that go before its own.

    Returns:
        The messages to publish, the chords to tell the store of before that, and the results that belong
        to the parent's own (`Composition.messages`, `openings`, `children`).

    Raises:
        InvalidOption, InvalidTaskArguments, EncodeError: a part of it cannot be sent.
        ResultStoreError: it holds a chord, and the store cannot count.
        MessageError: it is no signature.
    """
    composition = Composition(app, request, tolerant=True, anew=seed is None)
    try:
        with derived_ids(seed) if seed is not None else nullcontext():
            made = maybe_signature(signature, app=app, clone=True).clone()
            made.compose(composition, args, kwargs or {}, overrides)
    except GreenqError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        # It came from outside, and has the shape of no signature further in.
        raise MessageError(
            f"the signature {shortrepr(signature, 200)} cannot be applied: {error!r}"
        ) from error
    return composition
