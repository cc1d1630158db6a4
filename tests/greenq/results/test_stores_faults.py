"""Result stores without push: their addresses, and what they say when something is wrong."""

from __future__ import annotations

import os
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from greenq import results
from greenq.errors import ConfigError, DecodeError, EncodeError, ResultStoreError
from greenq.message import Result
from greenq.results import ResultStore
from greenq.results.files import ENDS
from greenq.testing.messages import PATIENCE, until
from greenq.testing.payloads import decode, encode, encoded
from tests.backends import Memcached, memcached, moto, postgres
from tests.documents import blocks
from tests.servers import free_port

ROOT = Path(__file__).parents[3]


def connect(url: str, timeout: float = 30.0) -> ResultStore:
    return results.connect(url, encode, decode, timeout)


def examples() -> list[str]:
    page = (ROOT / "docs" / "results.md").read_text()
    return [
        yaml.safe_load(block.text)["results"]["url"] for block in blocks(page) if block.language == "yaml"
    ]


class TestAddresses:
    @pytest.mark.parametrize("url", examples())
    def test_each_example_of_the_manual_keeps_results(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (
            ("ACCESS_KEY_ID", "a"),
            ("SECRET_ACCESS_KEY", "b"),
            ("DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        if url.startswith("db+postgresql"):
            url = f"db+{postgres().empty()}"
        elif url.startswith("s3"):
            import boto3

            boto3.client("s3", endpoint_url=moto().url).create_bucket(Bucket="shop-results")
        here = {
            "/var/lib/shop": str(tmp_path),
            "cache.internal:11211": f"127.0.0.1:{memcached().port}",
            "https://s3.internal": moto().url,
        }
        for there, instead in here.items():
            url = url.replace(there, instead)
        with connect(url) as store:
            store.put([encoded(store, "kept", value=[1, "ü"])], PATIENCE)
            assert store.wait(["kept"], PATIENCE)["kept"].value == [1, "ü"]

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("db+no-such-thing://host/db", "is no address of a database"),
            ("db+mysql+aiodriver://host/db", "is no address of a database"),
            ("db+oracle+oracledb://host/db", "pip install oracledb"),
            ("cache+redis://host", "write cache+memcached://host:11211/"),
            ("cache+memcached://", "several hosts joined by semicolons"),
            ("file://folder/in", "needs its whole path: file:///var/results"),
            ("fsspec+carrier-pigeon://loft", "carrier-pigeon"),
            ("s3://", "names no place: give a bucket"),
        ],
    )
    def test_a_mistake_says_what_to_do(self, url: str, advice: str) -> None:
        with pytest.raises(ConfigError) as caught:
            connect(url)
        assert advice in str(caught.value)


class TestFaults:
    @pytest.mark.parametrize(
        "url",
        [
            "db+postgresql+psycopg://shop:secret@127.0.0.1:{port}/shop",
            "cache+memcached://127.0.0.1:{port}/",
            "s3://bucket/?endpoint_url=http://127.0.0.1:{port}&key=a&secret=secret",
            "file:///proc/no/such/place",
        ],
    )
    def test_nobody_there_is_an_error_that_shows_no_password(self, url: str) -> None:
        with connect(url.format(port=free_port()), 2.0) as store:
            calls: list[Callable[[], Any]] = [
                lambda: store.put([encoded(store, "a")], 2.0),
                lambda: store.get(["a"], 2.0) if "file" not in url else store.put([encoded(store, "a")], 2.0),
            ]
            for call in calls:
                with pytest.raises(ResultStoreError) as caught:
                    call()
                assert "secret" not in str(caught.value)

    def test_a_store_goes_on_when_its_server_comes_back(self) -> None:
        server = postgres()
        url = f"db+{server.empty()}"
        name = url.rpartition("/")[2]
        with connect(url) as store:
            store.put([encoded(store, "a")], PATIENCE)
            server.query(
                "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            store.put([encoded(store, "b")], PATIENCE)
            assert set(store.get(["a", "b"], PATIENCE)) == {"a", "b"}

    def test_one_connection_serves_any_number_of_callers(self) -> None:
        url = f"db+{postgres().empty()}"
        with connect(url) as store:
            callers = [
                threading.Thread(target=lambda n=n: store.put([encoded(store, f"n{n}")], PATIENCE))
                for n in range(50)
            ]
            for caller in callers:
                caller.start()
            waited = store.wait([f"n{n}" for n in range(50)], PATIENCE)
            for caller in callers:
                caller.join()
            assert waited
            count = postgres().query(
                "postgres",
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'",
            )
            assert count.strip() == "1"

    def test_a_result_too_large_for_memcached_fails_where_it_is_waited_for(self) -> None:
        class Small(Memcached):
            options = ("-I", "1m")

        server = Small()
        with connect(f"cache+memcached://127.0.0.1:{server.port}/") as store:
            store.put([encoded(store, "big", value="x" * 2_000_000), encoded(store, "small")], PATIENCE)
            found = store.get(["big", "small"], PATIENCE)
        assert found["small"].state == "SUCCESS"
        assert (found["big"].state, found["big"].value["exc_type"]) == ("FAILURE", "EncodeError")
        server.stop()


class TestDatabase:
    def test_celerys_plain_tables_are_used_as_they_are(self, tmp_path: Path) -> None:
        from celery import Celery

        url = f"db+sqlite:///{tmp_path}/results.db"
        celery = Celery("plain", backend=url, set_as_current=False)
        celery.backend.store_result("theirs", 1, "SUCCESS")
        with connect(url) as store:
            assert store.get(["theirs"], PATIENCE)["theirs"].value == 1
            result = Result("ours", "SUCCESS", 2, extra={"name": "shop.add", "worker": "w@h"})
            store.encode(result)
            store.put([result], PATIENCE)
            assert store.get(["ours"], PATIENCE)["ours"].value == 2
        assert celery.AsyncResult("ours").get() == 2

    def test_a_pickle_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "results.db"
        with connect(f"db+sqlite:///{path}") as store:
            store.put([encoded(store, "old")], PATIENCE)
            with sqlite3.connect(path) as database:
                database.execute("UPDATE celery_taskmeta SET result = ?", (pickle.dumps({"a": 1}),))
            with pytest.raises((DecodeError, ValueError)):
                store.get(["old"], PATIENCE)

    def test_an_id_too_long_for_celerys_table_is_refused(self, tmp_path: Path) -> None:
        with connect(f"db+sqlite:///{tmp_path}/results.db") as store, pytest.raises(EncodeError, match="155"):
            encoded(store, "x" * 156)


class TestFiles:
    def test_lists_of_ends_are_dropped_with_what_they_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with connect(f"file://{tmp_path}") as store:
            store.put([encoded(store, str(n), expires=0.1) for n in range(5)], PATIENCE)
            store.put([encoded(store, "kept", expires=3600)], PATIENCE)
            until(lambda: not store.get(["0"], PATIENCE), "the expiry")
            assert store.expire() == 0, "they are dropped by the minute"
            late = time.time() + 61
            monkeypatch.setattr(time, "time", lambda: late)
            assert store.expire() == 5
            assert len(os.listdir(tmp_path / ENDS)) == 1
        assert [name for name in os.listdir(tmp_path) if name.startswith("celery")] == [
            "celery-task-meta-kept"
        ]

    def test_no_id_leads_out_of_the_folder(self, tmp_path: Path) -> None:
        folder = tmp_path / "results"
        with connect(f"file://{folder}") as store:
            for id in ("../../out", "/etc/out", "..", "a/b", ".", "x" * 1000):
                store.put([encoded(store, id, value=id)], PATIENCE)
                assert store.get([id], PATIENCE)[id].value == id
        assert os.listdir(tmp_path) == ["results"]
