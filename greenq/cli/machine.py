"""Checks of `greenq doctor` that look at this machine: versions, limits, disk, clock."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import greenq.errors
from greenq.cli.finding import Finding, fail, ok, warn
from greenq.config.schema import Settings

__all__ = ["clock", "disk", "open_files", "packages", "python"]

NEEDED = ("click", "gevent", "greenlet", "kombu", "msgpack", "PyYAML")
EXTRAS = {"eventlet": "eventlet", "zstandard": "zstd", "Brotli": "brotli"}
"""Package → the extra of greenq that installs it."""

SPARE_FILES = 64
"""Descriptors that a worker needs beside its tasks': broker, store, logs, libraries."""
USUAL_CONCURRENCY = 100
"""What a green pool takes if nobody says."""
DISK_LOW, DISK_OUT = 1024**3, 64 * 1024**2
CLOCKS_DIFFER = 2.0
"""Seconds between this machine's clock and its disk's that nothing but two machines explains."""
NETWORK_DISKS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
}


def python(settings: Settings | None) -> Iterator[Finding]:
    """The interpreter."""
    name = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield warn(
            "python",
            f"{name}, a free-threaded build: gevent and greenlet switch the GIL on again",
            "use an ordinary build, or the threads pool",
        )
    else:
        yield ok("python", name)


def packages(settings: Settings | None) -> Iterator[Finding]:
    """What greenq is built on, and what it can use."""
    found, missing = _versions(NEEDED)
    yield ok("packages", f"greenq {metadata.version('greenq')}, {', '.join(found)}")
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    found, missing = _versions(tuple(EXTRAS))
    lacking = f"not installed: {', '.join(f'greenq[{EXTRAS[name]}]' for name in missing)}" if missing else ""
    yield ok("extras", "; ".join(filter(None, [", ".join(found), lacking])))
    if settings and settings.worker.pool == "eventlet":
        yield warn(
            "eventlet",
            "eventlet is in maintenance: its own authors advise against new use",
            "use the gevent pool for new work; tasks need no change",
        )


def _versions(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def open_files(settings: Settings) -> Iterator[Finding]:
    """Whether each task at once can hold a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    concurrency = settings.worker.concurrency or USUAL_CONCURRENCY
    needed = concurrency + SPARE_FILES
    text = f"{soft:,} open files allowed, {concurrency:,} tasks at once"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        yield ok("files", text)
        return
    root = (
        "" if hard == resource.RLIM_INFINITY or hard >= needed else f" (the hard limit is {hard:,}: ask root)"
    )
    yield warn(
        "files",
        f"{text}: tasks with a connection each run into 'too many open files'",
        f"ulimit -n {2 * needed}{root}, under systemd LimitNOFILE={2 * needed}, or less worker.concurrency",
    )


def disk(settings: Settings) -> Iterator[Finding]:
    """Whether there is room for the embedded file, on a disk that it works on."""
    for path in sorted(
        {path for url in (settings.broker.url, settings.results.url) if (path := embedded(url))}
    ):
        folder = next((p for p in [path.parent, *path.parent.parents] if p.is_dir()), Path("/"))
        free = shutil.disk_usage(folder).free
        text = f"{free / 1024**3:,.1f} GiB free for {path}"
        if free < DISK_OUT:
            yield fail("disk", text, "free some space: without it nothing can be sent or settled")
        elif free < DISK_LOW:
            yield warn("disk", text, "free some space before it runs out: then nothing can be sent")
        else:
            yield ok("disk", text)
        kind = _file_system(folder)
        if kind in NETWORK_DISKS:
            yield fail(
                "disk",
                f"{path} is on a network disk ({kind}), where SQLite's locks are not safe",
                "put it on a local disk, or use a broker that is a server",
            )


def embedded(url: str | None) -> Path | None:
    """The file behind an address of the embedded broker or store; None for any other."""
    if not url or not url.startswith("sqlite:///"):
        return None
    return Path(url.removeprefix("sqlite:///").partition("?")[0]).absolute()


def _file_system(folder: Path) -> str:
    """The kind of the file system that `folder` is on; empty where that can't be told."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    around = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(around, key=lambda mount: len(mount[0]), default=("", ""))[1]


def clock(settings: Settings) -> Iterator[Finding]:
    """Whether the clock can be right, and is the disk's."""
    now = time.time()
    installed = os.path.getmtime(greenq.errors.__file__)
    if now < installed - 86400:
        yield fail(
            "clock",
            f"it is {time.strftime('%Y-%m-%d %H:%M', time.localtime(now))}, before greenq was installed",
            "set it (timedatectl set-ntp true): ETAs, expiry and leases depend on it",
        )
        return
    path = embedded(settings.broker.url)
    folder = path.parent if path and os.access(path.parent, os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        apart = abs(os.stat(probe.name).st_mtime - time.time())
    if apart > CLOCKS_DIFFER:
        yield warn(
            "clock",
            f"the disk of {folder} is {apart:.0f} s off this machine's clock: it belongs to another machine",
            "synchronise both (timedatectl set-ntp true), or use a local disk",
        )
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))
