"""Where the ids of new calls come from: random, or derived from the call that sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha1
from itertools import count

from greenq.composer import new_id as random_id

__all__ = ["derived_ids", "new_id"]

_source: ContextVar[Callable[[], str] | None] = ContextVar("greenq_id_source", default=None)


def new_id() -> str:
    """The id of a call, group or chord that has none yet."""
    source = _source.get()
    return random_id() if source is None else source()


@contextmanager
def derived_ids(seed: str) -> Iterator[None]:
    """Derive the ids that are made inside from `seed`, so that a second run of the same code repeats them.

    What a task's end sends must have the same ids when the end is repeated, after a death in between say:
    a duplicate can then be recognised.

    Parameters:
        seed: names the parent and what is sent, such as ``"<parent's id>/callback/0"``.

    Source: RFC 9562, UUID version 5.
    """
    numbers = count()

    def derive() -> str:
        digits = sha1(f"greenq/{seed}/{next(numbers)}".encode(errors="surrogatepass")).hexdigest()
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"

    token = _source.set(derive)
    try:
        yield
    finally:
        _source.reset(token)
