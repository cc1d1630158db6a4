"""The serializers and compressions by name: built in, named in the settings, or installed as plug-ins."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from greenq.codecs.base import Codec, Compressor
from greenq.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "COMPRESSIONS",
    "SERIALIZERS",
    "Builtin",
    "Table",
    "compression_names",
    "compressions",
    "serializer_names",
    "serializers",
]

C = TypeVar("C", bound=Codec | Compressor)


@dataclass(frozen=True, slots=True)
class Builtin:
    """Where a built-in class is, and what can be known of it without importing it.

    Parameters:
        content_type: repeats the class's own, so that a message is refused without an import.
        extra: the extra of greenq that installs its package; None if the core has it.
    """

    module: str
    attribute: str
    content_type: str
    extra: str | None = None


SERIALIZERS: dict[str, Builtin] = {
    "json": Builtin("greenq.codecs.json", "JsonCodec", "application/json"),
    "msgpack": Builtin("greenq.codecs.msgpack", "MsgpackCodec", "application/x-msgpack"),
    "yaml": Builtin("greenq.codecs.yaml", "YamlCodec", "application/x-yaml"),
    "pickle": Builtin("greenq.codecs.pickle", "PickleCodec", "application/x-python-serialize"),
}
_ZLIB = Builtin("greenq.codecs.zlib", "ZlibCompressor", "application/x-gzip")
_BZIP2 = Builtin("greenq.codecs.bzip2", "Bzip2Compressor", "application/x-bz2")
_LZMA = Builtin("greenq.codecs.lzma", "LzmaCompressor", "application/x-lzma")
_ZSTD = Builtin("greenq.codecs.zstd", "ZstdCompressor", "application/zstd", "zstd")
_BROTLI = Builtin("greenq.codecs.brotli", "BrotliCompressor", "application/x-brotli", "brotli")
COMPRESSIONS: dict[str, Builtin] = {
    "zlib": _ZLIB,
    "gzip": _ZLIB,
    "bzip2": _BZIP2,
    "bzip": _BZIP2,
    "lzma": _LZMA,
    "xz": _LZMA,
    "zstd": _ZSTD,
    "zstandard": _ZSTD,
    "brotli": _BROTLI,
}
"""kombu's names, its aliases included."""


class Table(Generic[C]):
    """Names to instances of one contract; each is made when it is first asked for.

    A name in the settings goes before a built-in one, and that before a plug-in's.

    Parameters:
        contract: `Codec` or `Compressor`.
        setting: the key that adds names, which is also the last part of the entry point group.
        builtin: what greenq brings.
        further: name to ``module:Class``, from the settings.
    """

    def __init__(
        self,
        contract: type[Codec] | type[Compressor],
        setting: str,
        builtin: Mapping[str, Builtin],
        further: Mapping[str, str],
    ) -> None:
        self.kind = setting.removesuffix("s")
        self._contract = contract
        self._setting = setting
        self._builtin = builtin
        self._further = further
        self._made: dict[str, C] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    @property
    def plugins(self) -> dict[str, EntryPoint]:
        """The installed plug-ins by name; looked for once, as that reads every package's metadata."""
        if self._plugins is None:
            from importlib.metadata import entry_points

            self._plugins = {point.name: point for point in entry_points(group=f"greenq.{self._setting}")}
        return self._plugins

    def names(self) -> list[str]:
        """Every name that `load` knows, the built-in ones first."""
        return list(dict.fromkeys([*self._builtin, *self._further, *sorted(self.plugins)]))

    def further_names(self) -> list[str]:
        """The names that are not greenq's own."""
        return [name for name in self.names() if name in self._further or name not in self._builtin]

    def content_type(self, name: str) -> str:
        """What messages carry for this name; does not import a built-in one.

        Raises:
            ConfigError: as `load`.
        """
        if name in self._builtin and name not in self._further:
            return self._builtin[name].content_type
        return self.load(name).content_type

    def load(self, name: str) -> C:
        """Give the instance of that name.

        Raises:
            ConfigError: nothing has that name, it cannot be imported, or it lacks the contract.
        """
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name: str) -> C:
        if name in self._further:
            dotted = self._further[name]
            where = f"{self._setting}.{name}: {dotted!r}"
            return self._instance(self._from_dotted(dotted, where), where)
        if name in self._builtin:
            return self._instance(self._from_builtin(name, self._builtin[name]), name)
        if name in self.plugins:
            where = f"the plug-in {self.kind} {name!r} ({self.plugins[name].value})"
            return self._instance(self._from_plugin(self.plugins[name], where), where)
        raise ConfigError(f"there is no {self.kind} named {name!r}: {self._hint(name)}")

    def _hint(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.names(), 1)
        return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(self.names())}"

    def _from_builtin(self, name: str, row: Builtin) -> Any:
        try:
            return getattr(importlib.import_module(row.module), row.attribute)
        except ModuleNotFoundError as error:
            if row.extra is None or (error.name or "").partition(".")[0] == "greenq":
                raise
            raise ConfigError(
                f"the {self.kind} {name} needs the package {error.name}, which is not installed: "
                f'pip install "greenq[{row.extra}]"'
            ) from error
        except ImportError as error:
            raise ConfigError(f"the {self.kind} {name} cannot be imported: {error}") from error

    def _from_dotted(self, dotted: str, where: str) -> Any:
        module, colon, attribute = dotted.partition(":")
        if not (module and colon and attribute):
            raise ConfigError(f"{where} must be written module:Class")
        try:
            found: Any = importlib.import_module(module)
        except Exception as error:
            raise ConfigError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise ConfigError(f"{where}: {module} has no {attribute!r}")
            found = getattr(found, part)
        return found

    def _from_plugin(self, point: EntryPoint, where: str) -> Any:
        try:
            return point.load()
        except Exception as error:
            raise ConfigError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error

    def _instance(self, cls: Any, where: str) -> C:
        contract = f"greenq.codecs.{self._contract.__name__}"
        if not (isinstance(cls, type) and issubclass(cls, self._contract)):
            raise ConfigError(f"{where} is not a subclass of {contract}")
        if left := sorted(getattr(cls, "__abstractmethods__", ())):
            raise ConfigError(f"{where} does not define {', '.join(left)}, which {contract} asks for")
        fields = ("name", "content_type", "encoding") if self._contract is Codec else ("name", "content_type")
        for field in fields:
            if not (isinstance(getattr(cls, field, None), str) and getattr(cls, field)):
                raise ConfigError(f"{where} has no {field!r}, a text that {contract} asks for")
        try:
            return cast(C, cls())
        except Exception as error:
            raise ConfigError(f"{where} cannot be made: {type(error).__name__}: {error}") from error


def serializers(further: Mapping[str, str]) -> Table[Codec]:
    """The table of serializers; `further` is name to ``module:Class``."""
    return Table(Codec, "serializers", SERIALIZERS, further)


def compressions(further: Mapping[str, str]) -> Table[Compressor]:
    """The table of compressions; `further` is name to ``module:Class``."""
    return Table(Compressor, "compressions", COMPRESSIONS, further)


def serializer_names(further: Mapping[str, str] | None = None) -> list[str]:
    """Every serializer that can be named, those of the settings included.

    Parameters:
        further: name to ``module:Class``, as `Settings.serializers` holds them.
    """
    return serializers(further or {}).names()


def compression_names(further: Mapping[str, str] | None = None) -> list[str]:
    """Every compression that can be named, those of the settings included.

    Parameters:
        further: name to ``module:Class``, as `Settings.compressions` holds them.
    """
    return compressions(further or {}).names()
