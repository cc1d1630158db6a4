"""Load the configuration: defaults, file, code, environment, command line, each over the one before."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenq.config.checks import check
from greenq.config.configuration import Configuration
from greenq.config.document import read_document
from greenq.config.given import from_object
from greenq.config.keys import leaves, root, variables
from greenq.config.mistakes import Mistakes, Place
from greenq.config.resolution import Resolution
from greenq.config.suggestions import closest, unknown_variable

__all__ = ["FILE", "load"]

FILE = "greenq.yaml"
"""The file that is read from the working directory if no other is named."""

# A Kubernetes service whose name starts with greenq puts such variables into every pod of its namespace.
_KUBERNETES = re.compile(
    r"GREENQ(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def load(
    path: str | Path | None = None,
    *,
    code: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, tuple[Any, str]] | None = None,
    discover: bool = True,
    names: Mapping[str, Sequence[str]] | None = None,
    beneath: tuple[str, Mapping[str, Any]] | None = None,
) -> Configuration:
    """Resolve every setting.

    Parameters:
        path: the YAML file; without, the one that ``GREENQ_CONFIG`` names, or ``greenq.yaml`` if it is here.
        code: the keyword arguments given to GreenQ; ``broker`` and ``results`` may be plain addresses.
        environ: instead of this process's environment.
        overrides: the command line: dotted key → (value, the option's name); None as value is not given.
        discover: look for a file if `path` is None.
        names: what there is for ``pool``, ``serializer`` and ``compression``; what is missing is not checked.
        beneath: what takes the place of defaults, and where it comes from.

    Returns:
        The settings, and where each came from.

    Raises:
        ConfigError: there are mistakes; one line for each, with its place and its mend.
    """
    environ = os.environ if environ is None else environ
    mistakes = Mistakes()
    resolution = Resolution(mistakes)
    if beneath is not None:
        resolution.lay(from_object(beneath[1], Place(beneath[0])))
    file = _file(path, environ, discover, mistakes)
    document = read_document(file, environ, mistakes) if file is not None else None
    if document is not None:
        resolution.lay(document)
    if code:
        resolution.lay(from_object(code, Place("code")))
    _lay_variables(resolution, environ, mistakes)
    _lay_options(resolution, overrides or {}, mistakes)
    settings = resolution.settings()
    if file is None or document is not None:
        # Without a file that was meant to be there, what conflicts might not.
        check(settings, resolution.places, resolution.failed, mistakes, names)
    mistakes.raise_if_any()
    return Configuration(settings, None if file is None else Path(file), resolution.places)


def _file(
    path: str | Path | None, environ: Mapping[str, str], discover: bool, mistakes: Mistakes
) -> str | None:
    if path is not None:
        return os.fspath(path)
    if not discover:
        return None
    named = environ.get("GREENQ_CONFIG")
    if named:
        if not os.path.exists(named):
            mistakes.add(
                Place("GREENQ_CONFIG"), f"there is no file {named}; name one that exists, or unset it"
            )
            return None
        return named
    if os.path.exists(FILE):
        return FILE
    if os.path.exists("greenq.yml"):
        mistakes.add(Place("greenq.yml"), f"a file of this name is not read; rename it to {FILE}")
    return None


def _lay_variables(resolution: Resolution, environ: Mapping[str, str], mistakes: Mistakes) -> None:
    for name in sorted(environ):
        if not name.startswith("GREENQ_") or name == "GREENQ_CONFIG" or _KUBERNETES.fullmatch(name):
            continue
        key = variables().get(name)
        if key is None:
            mistakes.add(Place(name), unknown_variable(name))
        elif environ[name] != "":
            # As Compose files and CI systems do, an empty variable is one that is not set.
            resolution.set(key, from_object(environ[name], Place(name), text=True))


def _lay_options(
    resolution: Resolution, overrides: Mapping[str, tuple[Any, str]], mistakes: Mistakes
) -> None:
    keys = {key.path: key for key in leaves(root())}
    for path, (value, option) in overrides.items():
        if value is None:
            continue
        if path not in keys:
            close = closest(path, keys)
            mistakes.add(
                Place(option), f"{path} is no setting" + (f"; did you mean {close}?" if close else "")
            )
            continue
        resolution.set(keys[path], from_object(value, Place(option), text=True))
