"""What travels between a process pool and its children: framed pickles, and exceptions with their traceback.

A frame is a kind, the number of the call that it belongs to, a length, and that many bytes.
"""

from __future__ import annotations

import io
import pickle
import runpy
import struct
import sys
import traceback
from contextlib import suppress
from types import ModuleType
from typing import Any

from pools.errors import PoolError, RemoteFailure, RemoteTraceback

__all__ = [
    "ERROR",
    "FAILED",
    "HEADER",
    "JOB",
    "READY",
    "VALUE",
    "FrameReader",
    "dump_error",
    "dump_outcome",
    "dump_sendable",
    "frame",
    "load",
    "load_error",
    "main_source",
    "use_main",
]

HEADER = struct.Struct("<BQQ")
JOB, READY, FAILED, VALUE, ERROR = range(5)
"""Kinds: a call; a child is up; its setup failed (the text); how a call ended."""

SHORT, LONG = 1 << 13, 1 << 18
"""Bytes that are received at once: of most frames, and of one that is known to be long."""

MAIN = "__pools_main__"
"""The name under which a child knows the parent's main module."""


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """Put a header before a payload."""
    return HEADER.pack(kind, number, len(payload)) + payload


class FrameReader:
    """Takes bytes as they arrive and gives frames."""

    __slots__ = ("_buffer", "_need")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = HEADER.size

    @property
    def room(self) -> int:
        """How many bytes are best received at once: memory for many costs more than a short frame's own."""
        return SHORT if self._need <= SHORT else LONG

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the frames that are complete now: kind, number, payload."""
        if not self._buffer and len(data) >= HEADER.size:
            kind, number, length = HEADER.unpack_from(data)
            if len(data) == HEADER.size + length:  # the usual case: one whole frame
                return [(kind, number, data[HEADER.size :])]
        self._buffer += data
        if len(self._buffer) < self._need:
            return []
        return self._take()

    def _take(self) -> list[tuple[int, int, bytes]]:
        found = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            kind, number, length = HEADER.unpack_from(self._buffer, start)
            self._need = HEADER.size + length
            if len(self._buffer) - start < self._need:
                break
            found.append((kind, number, bytes(self._buffer[start + HEADER.size : start + self._need])))
            start += self._need
            self._need = HEADER.size
        del self._buffer[:start]
        return found


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────


def dump_sendable(fn: Any, args: tuple[Any, ...]) -> bytes:
    """Pickle a call.

    Raises:
        PoolError: it cannot be sent to another process.
    """
    try:
        return pickle.dumps((fn, args), 5)
    except Exception as error:
        raise PoolError(
            f"this call cannot be sent to another process ({type(error).__name__}: {error}): "
            f"use a function that is defined at the top of a module, and arguments that can be pickled"
        ) from error


def load(data: bytes) -> Any:
    """Unpickle what the other side sent."""
    if b"__main__" in data or b"__pools_main__" in data:
        return _MainUnpickler(io.BytesIO(data)).load()
    return pickle.loads(data)


def dump_outcome(value: Any) -> tuple[int, bytes]:
    """Return kind and payload of a call that returned `value`."""
    try:
        return VALUE, pickle.dumps(value, 5)
    except Exception as error:
        unsendable = PoolError(
            f"the call's value, a {type(value).__qualname__}, cannot be pickled and so cannot leave its "
            f"process ({type(error).__name__}: {error}): return plain data"
        )
        unsendable.__cause__ = error
        return ERROR, dump_error(unsendable)


def dump_error(error: BaseException) -> bytes:
    """Return the payload of an exception: itself if it survives pickling, its type, text and traceback."""
    try:
        text = "".join(traceback.format_exception(error))
        said = str(error)
    except Exception as broken:
        text = said = f"(its text cannot be had: {broken!r})"
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    try:
        pickled = pickle.dumps(error, 5)
        pickle.loads(pickled)  # many exceptions can be pickled but not unpickled: their arguments differ
    except Exception:
        pickled = b""
    return pickle.dumps((pickled, kind, said, text), 5)


def load_error(payload: bytes) -> BaseException:
    """Return the exception that `dump_error` packed, or its stand-in, with the traceback as its cause."""
    pickled, kind, said, text = pickle.loads(payload)
    error: BaseException = RemoteFailure(kind, said)
    if pickled:
        with suppress(Exception):
            found = load(pickled)
            error = found if isinstance(found, BaseException) else error
    error.__cause__ = RemoteTraceback(text)
    return error


# ── the main module ──────────────────────────────────────────────────────────────────────────────────────
# Functions of the program that was started are pickled as __main__.name. In a child that module is something
# else, so it runs the program's file again when it first meets such a name, under another name, so that what
# the program does only `if __name__ == "__main__"` is not done again.

_main: ModuleType | None = None
_main_source: tuple[str, str] | None = None
_is_child = False
importing_main = False
"""While a child runs the program's file: whatever makes a pool then lacks that condition."""


def main_source() -> tuple[str, str] | None:
    """Where this process's main module comes from: ``("module" or "path", which)``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and not spec.name.endswith("__main__"):
        return "module", spec.name
    path = getattr(main, "__file__", None)
    return ("path", path) if path else None


def use_main(source: tuple[str, str] | None) -> None:
    """Make this process a child, and tell it where the parent's main module comes from."""
    global _main_source, _is_child
    _main_source = source
    _is_child = True


def _load_main() -> ModuleType:
    global _main, importing_main
    if _main is None:
        if _main_source is None:
            raise PoolError(
                "a function of an interactive session cannot be sent to another process: put it in a module"
            )
        importing_main = True
        try:
            kind, which = _main_source
            module = ModuleType(MAIN)
            sys.modules[MAIN] = module
            run = runpy.run_module if kind == "module" else runpy.run_path
            vars(module).update(run(which, run_name=MAIN))
            _main = module
        finally:
            importing_main = False
    return _main


class _MainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module not in ("__main__", MAIN):
            return super().find_class(module, name)
        if not _is_child:
            return super().find_class("__main__", name)
        found: Any = _load_main()
        for part in name.split("."):
            found = getattr(found, part)
        return found
