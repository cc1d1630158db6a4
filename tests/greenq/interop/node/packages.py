"""Fetch the npm packages that `package-lock.json` pins, into `node_modules`: npm itself is not needed.

``python packages.py`` does nothing where they are there already. It needs nothing but Python's own library.

Source: npm's documentation of package-lock.json (``lockfileVersion`` 3) and of its registry's addresses.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

__all__ = ["HERE", "are_there", "install"]

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
MODULES = HERE / "node_modules"
STAMP = MODULES / ".pinned"
REGISTRY = "https://registry.npmjs.org"
ATTEMPTS = 5
TIMEOUT = 30.0


def are_there() -> bool:
    """Whether the packages are there, and are those that are pinned now."""
    return STAMP.is_file() and STAMP.read_bytes() == LOCK.read_bytes()


def install() -> None:
    """Fetch and unpack all packages; they are there in one step or not at all.

    Raises:
        OSError: the registry does not answer.
        ValueError: what it answers is not what is pinned.
    """
    packages = {path: about for path, about in json.loads(LOCK.read_bytes())["packages"].items() if path}
    with tempfile.TemporaryDirectory(dir=HERE, prefix="node_modules.") as directory:
        fresh = Path(directory)
        with ThreadPoolExecutor(8) as threads:
            tarballs = threads.map(lambda item: _fetched(*item), packages.items())
            for path, tarball in zip(packages, tarballs, strict=True):
                _unpack(tarball, fresh / path)
        made = fresh / MODULES.name
        (made / STAMP.name).write_bytes(LOCK.read_bytes())
        shutil.rmtree(MODULES, ignore_errors=True)
        made.rename(MODULES)


def _fetched(path: str, about: dict[str, str]) -> bytes:
    """The tarball of one package, checked."""
    name = path.rpartition("node_modules/")[2]
    url = f"{REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{about['version']}.tgz"
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                tarball: bytes = answer.read()
            break
        except OSError as error:
            if attempt == ATTEMPTS - 1:
                raise OSError(f"{url}: {error}") from error
            time.sleep(2**attempt)
    kind, _, digest = about["integrity"].partition("-")
    if kind != "sha512" or base64.b64encode(hashlib.sha512(tarball).digest()).decode() != digest:
        raise ValueError(f"{url} is not the file that {LOCK.name} pins")
    return tarball


def _unpack(tarball: bytes, target: Path) -> None:
    """Write a package's files; the first folder of the tarball, whatever its name, stands for the package."""
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        for member in archive:
            inner = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or inner.is_absolute() or ".." in inner.parts:
                continue
            file = target / inner
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.read())


if __name__ == "__main__":
    if not are_there():
        print(f"fetching npm's {', '.join(json.loads((HERE / 'package.json').read_bytes())['dependencies'])}")
        try:
            install()
        except (OSError, ValueError) as error:
            sys.exit(f"the npm packages that tests need could not be fetched: {error}")
