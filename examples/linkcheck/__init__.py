"""Check every link of a site with thousands of concurrent greenq tasks.

Run it as ``python -m examples.linkcheck PATH_OR_URL``; README.md has the options and what it does not do.
"""
