"""``python -m greenq``: the command line without its script."""

from __future__ import annotations

from greenq.cli import main

if __name__ == "__main__":
    main()
