"""Where limits are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import shared_redis


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a place that no test has used."""
    if request.param == "redis":
        return shared_redis().empty()
    return f"sqlite:///{tmp_path}/greenq.db" if request.param == "sqlite" else f"memory://{tmp_path.name}"
