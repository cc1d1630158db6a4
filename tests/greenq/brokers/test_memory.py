"""What is particular about memory brokers."""

from __future__ import annotations

import os
import uuid

from greenq.brokers import connect
from greenq.message import Depth
from greenq.testing.messages import PATIENCE, make, take


def test_brokers_of_one_name_share_their_queues_and_others_do_not() -> None:
    name = uuid.uuid4()
    with (
        connect(f"memory://{name}") as one,
        connect(f"memory://{name}") as two,
        connect("memory://else") as three,
    ):
        one.publish([make()], PATIENCE)
        assert two.depth() == {"q": Depth(ready=1)}
        assert three.depth() == {}


def test_a_forked_child_starts_with_nothing_so_that_nothing_runs_twice() -> None:
    with connect(f"memory://{uuid.uuid4()}") as broker:
        broker.lease("parent", 60.0)
        broker.publish([make()], PATIENCE)
        child = os.fork()
        if child == 0:
            os._exit(0 if broker.depth() == {} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(take(broker, 1)) == 1
