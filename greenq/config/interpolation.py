"""Fill ``${NAME}`` and ``${NAME:-default}`` inside a text from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from greenq.config.mistakes import Wrong

__all__ = ["interpolate", "variables_in"]

_PIECE = re.compile(r"\$\$|\$\{|\}|[^$}]+|\$")
_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(:-)?")


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace variables; ``$$`` is one dollar, and a dollar without a brace stays.

    A default is taken if the variable is unset or empty, as in a shell, and may hold variables itself.
    What a variable holds is not looked at again.

    Parameters:
        text: as written.
        environ: the variables.

    Raises:
        Wrong: a variable is unset and has no default, or a brace is left open.
    """
    try:
        return _fill(text, 0, environ, inside=False, wanted=True)[0]
    except RecursionError:
        raise Wrong("nests its defaults too deeply") from None


def variables_in(text: str) -> list[str]:
    """The names of the variables that a text mentions."""
    return re.findall(r"\$\{\s*([A-Za-z_][A-Za-z0-9_]*)", text.replace("$$", ""))


def _fill(text: str, at: int, environ: Mapping[str, str], *, inside: bool, wanted: bool) -> tuple[str, int]:
    """Fill from `at` on, to the closing brace if `inside` a default; only what is `wanted` may fail."""
    parts: list[str] = []
    while at < len(text):
        found = _PIECE.match(text, at)
        assert found is not None, "the pattern takes any character"
        piece = found.group()
        if piece == "}" and inside:
            return "".join(parts), at
        at += len(piece)
        if piece == "${":
            piece, at = _variable(text, at, environ, wanted)
        parts.append("$" if piece == "$$" else piece)
    if inside:
        raise Wrong("has a ${ that is never closed", "end it with }, or write $${ for a plain ${")
    return "".join(parts), at


def _variable(text: str, at: int, environ: Mapping[str, str], wanted: bool) -> tuple[str, int]:
    """The value of the variable whose name starts at `at`, and where its brace has closed."""
    found = _NAME.match(text, at)
    if found is None or (not found.group(2) and text[found.end() : found.end() + 1] not in ("}", "")):
        raise Wrong("has a malformed ${...}", "write ${NAME} or ${NAME:-default}, or $${ for a plain ${")
    name, default = found.group(1), found.group(2) is not None
    value = environ.get(name)
    chosen = value is not None and (value != "" or not default)
    rest, end = _fill(text, found.end(), environ, inside=True, wanted=wanted and not chosen)
    if value is not None and chosen:
        return value, end + 1
    if not default and wanted:
        raise Wrong(
            f"needs the environment variable {name}, which is not set",
            f"set it, or give a default: ${{{name}:-...}}",
        )
    return rest, end + 1
