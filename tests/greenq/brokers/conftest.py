from __future__ import annotations

import pytest

for suite in ("sending", "leasing", "upkeep", "processes"):
    pytest.register_assert_rewrite(f"greenq.testing.brokers.{suite}")
pytest.register_assert_rewrite("greenq.testing.messages")
