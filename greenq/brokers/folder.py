"""Messages as files in kombu's ``filesystem`` transport, written and read so that none is torn or lost.

kombu writes a file where readers already see it, takes it away before its writer is done, and names files by
the millisecond. Here a message gets its name when it is whole, names follow the order of sending, and what
another program is still writing is waited for.

Source: kombu.transport.filesystem (``_put``, ``_get``).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from pathlib import Path
from queue import Empty
from typing import Any

from greenq.errors import PublishError

__all__ = ["mend"]

WRITTEN_WITHIN = 5.0
"""Seconds that another program may take to write a message of which it has made the file."""
_SUFFIX = ".msg"
_numbers = itertools.count()


def mend(channel: Any) -> None:
    """Have a channel of kombu's ``filesystem`` transport put and get messages in this module's way."""
    put_into, get_from = Path(channel.data_folder_out), Path(channel.data_folder_in)
    processed = Path(channel.processed_folder) if channel.store_processed else None
    channel._put = lambda queue, payload, **_: put(put_into, queue, payload)
    channel._get = lambda queue: get(get_from, queue, processed)


def put(folder: Path, queue: str, payload: dict[str, Any]) -> None:
    """Write a message, and only then give it a name that readers look for.

    Raises:
        PublishError: the file cannot be written, or the queue's name cannot be part of its name.
    """
    draft = folder / f".{os.urandom(16).hex()}.draft"
    name = f"{time.monotonic() * 1000:.0f}_{next(_numbers):012d}-{os.urandom(8).hex()}.{queue}{_SUFFIX}"
    try:
        draft.write_bytes(json.dumps(payload).encode())
        draft.rename(folder / name)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, (OSError, ValueError)):
            raise PublishError(
                f"the message cannot be written to {folder} ({error}): check the queue's name, the folder's "
                "rights and the space left; nothing was sent"
            ) from error
        raise


def get(folder: Path, queue: str, processed: Path | None) -> Any:
    """Take the first message of a queue away from all other readers.

    Parameters:
        processed: where it is kept once it was taken; None to keep it nowhere.

    Returns:
        What the file holds; of one that is no JSON when its writer's time is up, its text under a name that
        makes no envelope, so that it is dead-lettered as it is.

    Raises:
        Empty: there is none.
    """
    wanted = queue + _SUFFIX
    for name in sorted(os.listdir(folder)):
        if name.partition(".")[2] != wanted:
            continue
        taken = folder / f".{os.urandom(16).hex()}.taken"
        try:
            (folder / name).rename(taken)
        except OSError:
            continue  # another reader was faster
        payload = _read(taken)
        if processed is None:
            taken.unlink()
        else:
            taken.replace(processed / name)
        return payload
    raise Empty


def _read(path: Path) -> Any:
    deadline = time.monotonic() + WRITTEN_WITHIN
    while True:
        content = path.read_bytes()
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(content)
        if time.monotonic() >= deadline or time.time() - path.stat().st_mtime > WRITTEN_WITHIN:
            return {"unreadable": content.decode("utf-8", "backslashreplace")}
        time.sleep(0.005)
