from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import pools
from pools import table
from pools.errors import PoolError
from pools.solo import SoloPool
from pools.threads import ThreadPool


def test_each_name_leads_to_the_pool_of_that_name() -> None:
    for name in table.BUILTIN:
        assert pools.load(name).name == name


def test_create_makes_a_pool_of_the_wanted_capacity() -> None:
    with pools.create("threads", 7) as pool:
        assert isinstance(pool, ThreadPool)
        assert pool.capacity == 7


@pytest.mark.parametrize(
    ("name", "hint"), [("gevnt", "did you mean 'gevent'"), ("wood", "choose one of gevent, eventlet")]
)
def test_an_unknown_name_is_told_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(PoolError, match=hint):
        pools.create(name, 1)


def test_a_pool_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.BUILTIN, "wood", ("no_such_package.pool", "WoodPool"))
    with pytest.raises(PoolError, match="pip install no_such_package"):
        pools.create("wood", 1)


def test_third_parties_add_pools_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("wood", "pools.solo:SoloPool", "pools")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == "pools" else [])
    assert "wood" in pools.names()
    assert isinstance(pools.create("wood", 1), SoloPool)


def test_importing_the_package_imports_no_library_of_a_pool() -> None:
    code = """
import sys, pools
for name in ("threads", "solo"):
    pools.load(name)
heavy = {"gevent", "eventlet", "greenlet", "asyncio", "multiprocessing", "greenq", "socket", "ssl"}
print(heavy & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "set()\n"
