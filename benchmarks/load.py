"""Fill a peer's queue before its worker starts: ``python -m benchmarks.load MODULE TASK COUNT``.

Runs in the peer's environment.
"""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    module, task, count = sys.argv[1:]
    importlib.import_module(module).load(task, int(count))
