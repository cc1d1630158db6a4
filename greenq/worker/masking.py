"""Keep passwords out of running text: log lines, tracebacks, messages of other libraries."""

from __future__ import annotations

import re

from greenq.config.masking import mask

__all__ = ["mask_text"]

ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
SECRET = r"\w*(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key)"
ASSIGNED = re.compile(
    rf"(?P<head>\b{SECRET}\s*=\s*|(?P<key>['\"]){SECRET}(?P=key)\s*:\s*)(?P<quote>['\"]?)[^\s'\"&,;)}}\]]+(?P=quote)",
    re.IGNORECASE,
)
"""``password=…`` and ``'secret': '…'``; an unquoted ``token: …`` is prose more often than a secret."""


def mask_text(text: str) -> str:
    """Replace each password in `text` by ``***``.

    Parameters:
        text: anything that holds addresses or settings among other words.
    """
    if "://" in text:
        text = ADDRESS.sub(lambda found: mask(found[0]), text)
    if "=" in text or ":" in text:
        text = ASSIGNED.sub(r"\g<head>\g<quote>***\g<quote>", text)
    return text
