"""The interpreter's way to raise an exception in another native thread."""

from __future__ import annotations

import ctypes

__all__ = ["clear", "set_pending"]

_set = ctypes.pythonapi.PyThreadState_SetAsyncExc
# One place for this: the prototype belongs to the whole process, and where it says py_object a None would be
# raised instead of clearing.
_set.argtypes = [ctypes.c_ulong, ctypes.py_object]
_NOTHING = ctypes.py_object()


def set_pending(ident: int, kind: type[BaseException]) -> None:
    """Have an instance of `kind` raised in the thread when it next runs Python code.

    Parameters:
        ident: the native thread's, as `_thread.get_ident` has it.
    """
    _set(ident, ctypes.py_object(kind))


def clear(ident: int) -> None:
    """Take back what is pending in the thread."""
    _set(ident, _NOTHING)
