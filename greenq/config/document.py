"""Read a configuration file into values that know their lines, with variables filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from greenq.config.given import Given
from greenq.config.interpolation import interpolate, variables_in
from greenq.config.masking import label, names_a_secret, quoted
from greenq.config.mistakes import Mistakes, Place, Wrong
from greenq.config.nodes import CORE, Unreadable, read_nodes

__all__ = ["read_document"]

MOST_VALUES = 20_000
DEEPEST = 32


def read_document(path: str, environ: Mapping[str, str], mistakes: Mistakes) -> Given | None:
    """Read one YAML file.

    Parameters:
        path: the file, as messages should show it.
        environ: for ``${NAME}`` in values.
        mistakes: gets what is wrong, with lines.

    Returns:
        The root mapping, or None if the file cannot be read at all.
    """
    try:
        node = read_nodes(path)
        if node is None or _is_nothing(node):
            return Given({}, Place(path, 1))
        if not isinstance(node, MappingNode):
            raise Unreadable("the file must hold lines of `key: value`", _line(node))
        return _Builder(path, environ, mistakes).mapping(node, "", 0)
    except Unreadable as error:
        mistakes.add(Place(path, error.line), str(error))
        return None


class _Builder:
    """Turns nodes into Given, bounded: aliases of aliases can make a small file huge."""

    def __init__(self, path: str, environ: Mapping[str, str], mistakes: Mistakes) -> None:
        self._path = path
        self._environ = environ
        self._mistakes = mistakes
        self._values = 0

    def mapping(self, node: MappingNode, path: str, depth: int) -> Given:
        """Build a mapping; its own keys win over merged ones (``<<``), and earlier merges over later ones."""
        entries: dict[str, tuple[Place, Given]] = {}
        merges: list[Node] = []
        for name_node, value_node in node.value:
            place = self._place(name_node)
            if name_node.tag == CORE + "merge":
                merges.append(value_node)
                continue
            if not isinstance(name_node, ScalarNode):
                self._mistakes.add(place, "a key must be plain text")
                continue
            name = name_node.value
            if not path and name.startswith("x-"):
                continue  # a place for anchors, as in Compose files
            below = f"{path}.{name}" if path else name
            if name in entries:
                first = entries[name][0].line
                self._mistakes.add(
                    place, f"{label(below)} is already set in line {first}; delete one of the two"
                )
                continue
            entries[name] = (place, self._build(value_node, below, depth + 1))
        for source in self._merged(merges):
            if isinstance(source, MappingNode):
                for name, entry in self._counted(source, path, depth).items():
                    entries.setdefault(name, entry)
            else:
                self._mistakes.add(self._place(source), "<< takes a mapping, or a list of them: <<: *name")
        return Given(entries, self._place(node))

    def _merged(self, merges: list[Node]) -> Iterator[Node]:
        for node in merges:
            yield from node.value if isinstance(node, SequenceNode) else [node]

    def _counted(self, node: MappingNode, path: str, depth: int) -> dict[str, tuple[Place, Given]]:
        self._count(node, depth + 1)
        entries: dict[str, tuple[Place, Given]] = self.mapping(node, path, depth + 1).value
        return entries

    def _build(self, node: Node, path: str, depth: int) -> Given:
        self._count(node, depth)
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            items = [self._build(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
            return Given(items, self._place(node))
        return self._scalar(node, path)

    def _count(self, node: Node, depth: int) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise Unreadable(
                f"aliases make more than {MOST_VALUES} values of this file; write fewer", _line(node)
            )
        if depth > DEEPEST:
            raise Unreadable("lists or mappings are nested too deeply, or an alias holds itself", _line(node))

    def _scalar(self, node: Node, path: str) -> Given:
        place, written = self._place(node), node.value
        if not node.tag.startswith(CORE) or node.tag[len(CORE) :] not in _READ:
            self._mistakes.add(place, f"{label(path)} has a tag (!name); write the plain value")
            return Given(None, place, broken=True)
        if "$" in written:
            return self._interpolated(written, place, path)
        quotes = getattr(node, "style", None) is not None
        if node.tag == CORE + "null":
            return Given(None, place, missing=written == "")
        return Given(_READ[node.tag[len(CORE) :]](written), place, quoted=quotes)

    def _interpolated(self, written: str, place: Place, path: str) -> Given:
        try:
            value = interpolate(written, self._environ)
        except Wrong as wrong:
            self._mistakes.add(place, "; ".join(filter(None, (f"{label(path)} {wrong.what}", wrong.mend))))
            return Given(None, place, broken=True)
        names = variables_in(written)
        if not names:
            return Given(value, place, quoted=True)
        hidden = any(names_a_secret(name) for name in names)
        shown = quoted(written) if hidden else f"{quoted(value)} (from {quoted(written)})"
        return Given(value, place, text=True, shown=shown)

    def _place(self, node: Node) -> Place:
        return Place(self._path, _line(node))


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _is_nothing(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == CORE + "null"


def _integer(written: str) -> int:
    digits = written.lstrip("+-").removeprefix("0x").removeprefix("0o")
    if len(digits) > 25:
        return 10**25  # beyond every bound, and int() refuses thousands of digits
    base = {"0x": 16, "0o": 8}.get(written[:2], 10)
    return int(written, base)


def _number(written: str) -> float:
    return float(re.sub(r"\.(?=[in])", "", written.lower()))


_READ: Mapping[str, Callable[[str], Any]] = {
    "null": lambda written: None,
    "str": str,
    "bool": lambda written: written.lower() == "true",
    "int": _integer,
    "float": _number,
    "merge": str,
}
