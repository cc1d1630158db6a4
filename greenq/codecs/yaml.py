"""YAML, the safe subset: for people who read messages, and for dates in structures."""

from __future__ import annotations

from typing import Any, ClassVar

import yaml
from yaml.composer import Composer
from yaml.events import AliasEvent
from yaml.nodes import Node, ScalarNode

from greenq.codecs.base import Codec
from greenq.codecs.nesting import too_deep
from greenq.errors import BodyTooLarge, DecodeError, EncodeError

__all__ = ["YamlCodec"]

NODE = 512
"""About how many bytes a value takes while it is read; a body may hold ``max_size / 512``."""
MAX_LEVELS = 150
"""Reading recurses about five calls a level, so that it is fewer than for other serializers."""
MAX_DIGITS = 4300
"""As the interpreter's own bound for decimal numbers; YAML's numbers to the base 60 are not under it."""
OF_NUMBERS = "0123456789+-._:eE"


def _too_many_digits() -> DecodeError:
    return DecodeError(f"the yaml body holds a number of more than {MAX_DIGITS} digits")


class _Bounds(Composer):
    """Counts while the document is composed, each alias as all that it stands for.

    Aliases share memory when they are read, and explode when anything walks over them (``repr``, another
    serializer): nine lines of nine aliases are a thousand million values.
    """

    max_nodes: int
    peek_event: Any

    def __init__(self) -> None:
        super().__init__()
        self._nodes = 0
        self._level = 0
        self._deepest = 0
        self._weights: dict[Any, tuple[int, int]] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: Any = self.peek_event()
        if isinstance(event, AliasEvent):
            self._add_alias(event.anchor)
            return super().compose_node(parent, index)
        nodes, deepest = self._nodes, self._deepest
        self._level += 1
        self._deepest = self._level
        self._add(1)
        node = super().compose_node(parent, index)
        if event.anchor is not None:
            self._weights[event.anchor] = (self._nodes - nodes, self._deepest - self._level)
        self._deepest = max(self._deepest, deepest)
        self._level -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Take long plain texts for texts: the expressions that tell numbers need 40 bytes for each byte."""
        if kind is ScalarNode and len(value) > MAX_DIGITS and implicit[0]:
            if not value.strip(OF_NUMBERS):
                raise _too_many_digits()
            return "tag:yaml.org,2002:str"
        return super().resolve(kind, value, implicit)  # type: ignore[misc]

    def _add_alias(self, anchor: Any) -> None:
        if anchor in self._weights:
            nodes, height = self._weights[anchor]
            self._deepest = max(self._deepest, self._level + 1 + height)
            self._add(nodes)
        elif anchor in self.anchors:
            raise DecodeError("the yaml body refers to itself, which is not decoded")

    def _add(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self.max_nodes:
            raise BodyTooLarge(
                f"the yaml body, with its aliases, has over {self.max_nodes} values: raise tasks.max_body"
            )
        if self._deepest > MAX_LEVELS:
            raise too_deep("yaml", MAX_LEVELS)


if yaml.__with_libyaml__:

    class _Loader(_Bounds, yaml.CSafeLoader):
        """libyaml reads the text; nodes are composed here, as its own composing recurses without a bound."""

        def __init__(self, data: bytes) -> None:
            yaml.CSafeLoader.__init__(self, data)
            _Bounds.__init__(self)

else:

    class _Loader(_Bounds, yaml.SafeLoader):  # type: ignore[no-redef]
        """PyYAML's own reader."""

        def __init__(self, data: bytes) -> None:
            yaml.SafeLoader.__init__(self, data)
            _Bounds.__init__(self)


def _short(constructor: Any) -> Any:
    def construct(loader: _Loader, node: ScalarNode) -> Any:
        if len(node.value) > MAX_DIGITS:
            raise _too_many_digits()
        return constructor(loader, node)

    return construct


for _tag in ("int", "float"):
    _tag = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_constructor(_tag, _short(_Loader.yaml_constructors[_tag]))


class YamlCodec(Codec):
    """Readable, carries dates and bytes; many times slower than json.

    Source: kombu.serialization.register_yaml (``yaml.safe_dump``, ``yaml.safe_load``).
    """

    name: ClassVar[str] = "yaml"
    content_type: ClassVar[str] = "application/x-yaml"
    encoding: ClassVar[str] = "utf-8"

    def encode(self, value: Any) -> bytes:
        """Turn `value` into bytes; see `Codec`."""
        try:
            return yaml.safe_dump(value).encode()
        except yaml.representer.RepresenterError as error:
            kind = type(error.args[1]) if len(error.args) > 1 else type(value)
            raise EncodeError(
                f"yaml cannot carry a value of type {kind.__module__}.{kind.__qualname__} (json also carries "
                "Decimal and UUID)"
            ) from error
        except RecursionError as error:
            raise EncodeError("the value is nested too deep for yaml") from error

    def decode(self, data: bytes, max_size: int) -> Any:
        """Turn bytes into the value; see `Codec`."""
        try:
            loader = _Loader(data)
            try:
                loader.max_nodes = max_size // NODE
                return loader.get_single_data()
            finally:
                loader.dispose()
        except (DecodeError, MemoryError):
            raise
        except RecursionError as error:
            raise too_deep(self.name, MAX_LEVELS) from error
        except Exception as error:
            # Constructors of malformed scalars (dates, numbers, base64) raise almost anything.
            problem = getattr(error, "problem", None) or error
            raise DecodeError(f"the body is not valid yaml: {problem}") from error
