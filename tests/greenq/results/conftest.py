from __future__ import annotations

import pytest

for suite in ("keeping", "waiting", "committing", "base"):
    pytest.register_assert_rewrite(f"greenq.testing.stores.{suite}")
