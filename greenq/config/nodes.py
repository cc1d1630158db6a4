"""From a file's bytes to PyYAML's node tree, with every failure told in one sentence.

PyYAML parses and composes. What its loader would build (dates, octals, ``yes`` as true, Python objects) is
left out: plain text means what YAML 1.2's core schema says, and greenq's schema decides the rest.
"""

from __future__ import annotations

import os
import re

from yaml.composer import Composer
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import Node
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

__all__ = ["CORE", "Unreadable", "read_nodes"]

LARGEST_FILE = 256 * 1024

CORE = "tag:yaml.org,2002:"
"""What the tags of YAML's own types start with."""

_PLAIN_TYPES = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    "merge": (r"<<", ["<"]),
}

# What PyYAML says → what to do about it. The first that fits counts.
_PROBLEMS = (
    (r"'\t'", "a tab stands where only spaces may; indent with spaces"),
    ("cannot start any token", "a value starts with a character that YAML reserves; put it in quotes"),
    ("mapping values are not allowed",
     "a colon is out of place; indent like the lines around it, or put text that holds a colon in quotes"),
    ("could not find expected ':'", "a key has no colon; write `key: value`"),
    ("expected <block end>", "the indentation fits no line above; indent the keys of one section alike"),
    ("expected ',' or ']'", "a list's [ is not closed; separate its entries by commas and end it with ]"),
    ("expected ',' or '}'", "a mapping's { is not closed; separate its entries by commas and end it with }"),
    ("unexpected end of stream", "a quote is opened here and never closed"),
    ("unknown escape character", "a backslash in double quotes is special; double it, or use single quotes"),
    ("undefined alias", "*name needs an &name above it; put text that starts with * in quotes"),
    ("duplicate anchor", "this &name is taken; rename one of the two"),
    ("but found another document", "a second document starts here (---); keep one in the file"),
)  # fmt: skip


# PyYAML notices these where the next thing stands; the mistake is where the construct began.
_BEGUN_EARLIER = ("could not find expected ':'", "expected ',' or", "unexpected end of stream")


class Unreadable(Exception):
    """The file as a whole cannot be used; `line` is 0 if none is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def read_nodes(path: str) -> Node | None:
    """Read a YAML file as a tree of nodes that know their lines; None if it is empty.

    Raises:
        Unreadable: it cannot be opened, is no UTF-8, no YAML, too large or too deep.
    """
    return _compose(_text(_bytes(path)))


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML up to the node tree, with YAML 1.2's plain types."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)


for _name, (_form, _first) in _PLAIN_TYPES.items():
    _Loader.add_implicit_resolver(CORE + _name, re.compile(f"^(?:{_form})$"), _first)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise Unreadable(f"there is no such file; write one with: greenq config init {path}") from None
    except IsADirectoryError:
        raise Unreadable(
            f"this is a directory; name the file in it: {os.path.join(path, 'greenq.yaml')}"
        ) from None
    except PermissionError:
        raise Unreadable("this user may not read the file; change its owner or mode") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(f"the file cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE:
        raise Unreadable(
            f"the file is larger than {LARGEST_FILE // 1024}KiB, so it is hardly a configuration"
        )
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            "this is not UTF-8; save the file as UTF-8", data.count(b"\n", 0, error.start) + 1
        ) from None


def _compose(text: str) -> Node | None:
    try:
        return _Loader(text).get_single_node()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(
            "a control character is not allowed here; delete it or write it as an escape", line
        ) from None
    except MarkedYAMLError as error:
        raise Unreadable(*_explain(error)) from None
    except RecursionError:
        raise Unreadable("lists or mappings are nested too deeply") from None
    except YAMLError:
        raise Unreadable("this is no YAML") from None
    except ValueError:
        # PyYAML lets chr() fail on an escape beyond Unicode.
        raise Unreadable("an escape in double quotes names no character; use single quotes") from None


def _explain(error: MarkedYAMLError) -> tuple[str, int]:
    """A sentence that holds none of the file's own text, which may be a secret, and the line."""
    problem = error.problem or ""
    mark = error.problem_mark
    if mark is None or any(part in problem for part in _BEGUN_EARLIER):
        mark = error.context_mark or mark
    line = mark.line + 1 if mark is not None else 0
    for part, sentence in _PROBLEMS:
        if part in problem:
            return sentence, line
    return "YAML does not allow this; check quotes, colons and indentation", line
