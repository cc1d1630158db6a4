"""How the manual is built: `make docs`."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "greenq"
author = "The greenq authors"
copyright = author
release = version = version_of("greenq")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"greenq {release}"
html_copy_source = True
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "native"
