"""Where result files are: directories of this machine, and whatever fsspec reaches.

Each place takes and gives many files at once, by name. Calls block, and belong to one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Coroutine, Iterator, Mapping
from typing import Any

from greenq.errors import ConfigError, ResultStoreError
from pools import coroutines, native

__all__ = ["AsyncFiles", "Files", "LocalFiles", "SyncFiles", "failed", "remote"]

FIRST_PAUSE, LAST_PAUSE = 0.0005, 0.02
"""Seconds between two tries to get the lock of a directory; another process holds it for a moment only."""
AT_ONCE = 32
"""Requests that are under way at once."""
DRAFTS = ".greenq-drafts"
"""Folder of files that are being written and have no name yet."""
ABANDONED = 3600.0
"""Seconds after which nobody writes a draft any more."""


class Files(ABC):
    """A place for files."""

    @abstractmethod
    def read(self, names: Collection[str]) -> dict[str, bytes]:
        """Those that are there."""

    @abstractmethod
    def write(self, files: Mapping[str, bytes]) -> None:
        """Make or replace files, each as a whole."""

    @abstractmethod
    def remove(self, names: Collection[str]) -> None:
        """Remove those that are there."""

    @abstractmethod
    def listing(self, folder: str) -> list[str]:
        """The names of the files in a folder, without it."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other greenq processes from changing files meanwhile, where the place has locks."""
        yield

    def tidy(self) -> None:
        """Remove what processes left behind that died while they wrote."""
        return

    def close(self) -> None:
        """Let go of connections."""
        return


class LocalFiles(Files):
    """A directory; made if it is missing.

    Parameters:
        timeout: seconds that another process may keep the lock.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError), open(os.path.join(self._path, name), "rb") as file:
                found[name] = file.read()
        return found

    def write(self, files: Mapping[str, bytes]) -> None:
        drafts = {os.path.join(self._path, name): self._draft() for name in files}
        for path in {os.path.dirname(path) for path in drafts} | {os.path.join(self._path, DRAFTS)}:
            os.makedirs(path, exist_ok=True)
        try:
            for draft, data in zip(drafts.values(), files.values(), strict=True):
                with open(draft, "wb") as file:
                    file.write(data)
            # All are written by now: the disk has them together with the first, and the rest costs little.
            for draft in drafts.values():
                _sync(draft)
            for path, draft in drafts.items():
                os.replace(draft, path)
        except BaseException:
            for draft in drafts.values():
                with contextlib.suppress(OSError):
                    os.unlink(draft)
            raise
        for folder in {os.path.dirname(path) for path in drafts}:
            _sync(folder)

    def _draft(self) -> str:
        return os.path.join(self._path, DRAFTS, secrets.token_hex(8))

    def tidy(self) -> None:
        before = time.time() - ABANDONED
        for leaf in self.listing(DRAFTS):
            path = os.path.join(self._path, DRAFTS, leaf)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_mtime < before:
                    os.unlink(path)

    def remove(self, names: Collection[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._path, name))

    def listing(self, folder: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(os.path.join(self._path, folder))
        return []

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        os.makedirs(self._path, exist_ok=True)
        name = os.path.join(self._path, ".greenq-lock")
        deadline = time.monotonic() + self._timeout
        with open(name, "ab") as lock:
            pause = FIRST_PAUSE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise ResultStoreError(
                            f"another process has kept {name} locked for {self._timeout:.3g} s: "
                            "look for one that is suspended (`fuser FILE` names them)"
                        ) from None
                native.Signal().wait(pause)
                pause = min(pause * 1.5, LAST_PAUSE)
            yield


class SyncFiles(Files):
    """What fsspec reaches by blocking calls: memory, SFTP, SMB, HDFS, …"""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[name] = self._fs.cat_file(f"{self._root}/{name}")
        return found

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = f"{self._root}/{name}"
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)

    def remove(self, names: Collection[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._root}/{name}")

    def listing(self, folder: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [_leaf(path) for path in self._fs.ls(f"{self._root}/{folder}", detail=False, refresh=True)]
        return []


class AsyncFiles(Files):
    """What fsspec reaches by coroutines: S3, Google Cloud Storage, Azure.

    They run on the event loop of this process that monkey-patching cannot reach: fsspec's own would not run.
    """

    def __init__(self, filesystem: Any, root: str, timeout: float) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._timeout = timeout
        self._session: Any = None

    def read(self, names: Collection[str]) -> dict[str, bytes]:
        async def read(name: str) -> tuple[str, bytes | None]:
            try:
                return name, bytes(await self._fs._cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return name, None

        found = self._run([read(name) for name in names])
        return {name: data for name, data in found if data is not None}

    def write(self, files: Mapping[str, bytes]) -> None:
        self._run([self._fs._pipe_file(f"{self._root}/{name}", data) for name, data in files.items()])

    def remove(self, names: Collection[str]) -> None:
        async def remove(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                await self._fs._rm_file(f"{self._root}/{name}")

        self._run([remove(name) for name in names])

    def listing(self, folder: str) -> list[str]:
        async def look() -> list[str]:
            self._fs.invalidate_cache()
            with contextlib.suppress(FileNotFoundError):
                found = await self._fs._ls(f"{self._root}/{folder}", detail=False)
                return [_leaf(path) for path in found]
            return []

        [names] = self._run([look()])
        return list(names)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None and hasattr(session, "close"):
            with contextlib.suppress(Exception):
                coroutines.run(asyncio.wait_for(session.close(), 5.0))

    def _run(self, calls: list[Coroutine[Any, Any, Any]]) -> list[Any]:
        return list(coroutines.run(self._all(calls)))

    async def _all(self, calls: list[Coroutine[Any, Any, Any]]) -> list[Any]:
        if self._session is None and hasattr(self._fs, "set_session"):
            self._session = await self._fs.set_session()
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(call: Coroutine[Any, Any, Any]) -> Any:
            async with slots:
                return await asyncio.wait_for(call, self._timeout)

        return await asyncio.gather(*map(one, calls))


def _sync(path: str) -> None:
    """Have the disk keep what a file or a folder holds."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _leaf(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def remote(protocol: str, root: str, options: Mapping[str, Any], timeout: float) -> Files:
    """The place that fsspec has under a protocol.

    Raises:
        ConfigError: fsspec knows no such protocol, or the package for it is missing.
    """
    try:
        import fsspec  # type: ignore[import-untyped]

        kind = fsspec.get_filesystem_class(protocol)
        asynchronous = {"asynchronous": True} if kind.async_impl else {}
        filesystem = (
            kind(skip_instance_cache=True, **asynchronous, **options) if asynchronous else kind(**options)
        )
    except ImportError as error:
        package = error.name or ("fsspec" if protocol != "s3" else "s3fs")
        raise ConfigError(
            f"results on {protocol}:// need a package that is not installed ({error}): pip install {package}"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"results on {protocol}:// cannot be set up: {error}") from error
    if not root.strip("/"):
        raise ConfigError(
            f"the address of results on {protocol}:// names no place: give a bucket or directory"
        )
    if kind.async_impl:
        return AsyncFiles(filesystem, root, timeout)
    return SyncFiles(filesystem, root)


def failed(where: str, error: Exception) -> ResultStoreError:
    """Say what went wrong with a place."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ResultStoreError(f"results at {where} cannot be read or written: {text}")
