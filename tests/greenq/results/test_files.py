"""Results as files: the contract in a directory, in fsspec's memory and on S3."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenq.errors import ResultStoreError
from greenq.message import SUCCESS, Result
from greenq.results.files import FileStore
from greenq.results.filesystems import DRAFTS
from greenq.testing.payloads import decode, encode
from greenq.testing.stores import NoChordsConformance, SharedStoreConformance
from greenq.testing.stores.keeping import Keeping
from greenq.testing.stores.waiting import Elsewhere
from tests.backends import memory_directory, moto

_numbers = itertools.count()


class TestDirectory(Keeping, Elsewhere):
    def address(self) -> str:
        return f"file://{self.directory}/{next(_numbers)}"

    def setup_method(self) -> None:
        self.directory = memory_directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)


class TestMemory(Keeping):
    def address(self) -> str:
        return f"fsspec+memory://results-{next(_numbers)}"


class TestS3(SharedStoreConformance, NoChordsConformance):
    crowd = 50

    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def address(self) -> str:
        import boto3

        bucket = f"results-{next(_numbers)}"
        client = boto3.client(
            "s3", endpoint_url=moto().url, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        client.create_bucket(Bucket=bucket)
        return f"s3://{bucket}/shop/?endpoint_url={moto().url}"


def test_a_process_that_keeps_the_lock_does_not_stop_the_others_for_ever(tmp_path: Path) -> None:
    with FileStore(f"file://{tmp_path}", encode, decode, timeout=0.2) as store:
        result = Result("task", SUCCESS, 1)
        store.encode(result)
        with (tmp_path / ".greenq-lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(ResultStoreError, match="another process has kept"):
                store.put([result], 60.0)
        store.put([result], 60.0)
        assert store.get(["task"], 60.0)["task"].value == 1


def test_drafts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from greenq.message import SUCCESS, Result
from greenq.results.files import FileStore
from greenq.results.filesystems import DRAFTS
from greenq.testing.payloads import decode, encode
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with FileStore(sys.argv[1], encode, decode) as store:
    result = Result("task", SUCCESS, 1)
    store.encode(result)
    store.put([result], 60.0)
"""
    died = subprocess.run([sys.executable, "-c", code, f"file://{tmp_path}"], timeout=120)
    assert died.returncode == -signal.SIGKILL
    [draft] = (tmp_path / DRAFTS).iterdir()
    with FileStore(f"file://{tmp_path}", encode, decode) as store:
        store.expire()
        assert draft.exists(), "somebody may be writing it"
        os.utime(draft, (0, 0))
        store.expire()
        assert not draft.exists()
        assert store.get(["task"], 60.0) == {}


def test_an_error_midway_leaves_no_draft_and_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    results = [Result(str(i), SUCCESS, i) for i in range(3)]
    with FileStore(f"file://{tmp_path}", encode, decode) as store:
        for result in results:
            store.encode(result)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(ResultStoreError, match="no space left"):
                store.put(results, 60.0)
        assert list((tmp_path / DRAFTS).iterdir()) == []
        assert store.get(["0", "1", "2"], 60.0) == {}
        store.put(results, 60.0)
        assert len(store.get(["0", "1", "2"], 60.0)) == 3
