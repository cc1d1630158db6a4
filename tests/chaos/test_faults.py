"""A worker of a thousand green threads goes on after whatever happens to its broker, and nothing is lost.

The long form is ``python -m tests.chaos.faults``.
"""

from __future__ import annotations

import pytest

from tests.chaos.scene import Scene
from tests.chaos.stages import STAGES

FEWER = {"store": ["blackhole", "restart", "memory"]}
"""Its connections are those of the Redis broker, which is put through all of them."""


@pytest.mark.parametrize("name", STAGES)
def test_work_goes_on_after_each_kind_of_fault(name: str) -> None:
    stage = STAGES[name]()
    scene = Scene(name, stage, rate=100, longest=0.3, pause=0.3, counted=2)
    try:
        report = scene.run("each", FEWER.get(name) or list(stage.faults), (0.2, 0.4))
        code = scene.close()
        assert not report.problems, f"{report.problems}\n{scene.log.read_text()[-5000:]}"
        assert code == 0, scene.log.read_text()[-5000:]
    finally:
        scene.end()
        stage.close()
