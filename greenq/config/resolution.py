"""Lay the given values over one another and build the settings from them."""

from __future__ import annotations

from typing import Any

from greenq.config.given import Given
from greenq.config.keys import ONE_VALUE, Key, Section, leaves, root
from greenq.config.masking import label, quoted
from greenq.config.mistakes import Mistakes, Place, Wrong
from greenq.config.scalars import read_scalar, read_text
from greenq.config.schema import Settings
from greenq.config.suggestions import unknown_key

__all__ = ["Resolution"]

_BAD: Any = object()


class Resolution:
    """The values so far; a later layer wins.

    Sections and mappings are merged key by key, lists are replaced.

    Attributes:
        places: where each value was written, by dotted key; list items as ``accept[0]``.
        failed: dotted keys whose value had a mistake, so that no second one is made of it.
    """

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self._values: dict[str, Any] = {}
        self.places: dict[str, Place] = {}
        self.failed: set[str] = set()

    def lay(self, given: Given) -> None:
        """Lay a whole mapping (a file's, or code's) over what there is."""
        self._section(root(), given, "")

    def set(self, key: Key, given: Given) -> None:
        """Lay one setting's value over what there is."""
        value = self._value(key, given, key.path)
        if value is _BAD:
            self.failed.add(key.path)
            return
        if key.kind in ("named_texts", "named_records", "named_values"):
            earlier = self._values.get(key.path, {})
            value = {**earlier, **value}
        self._values[key.path] = value

    def settings(self) -> Settings:
        """Build the settings; what had a mistake has its default."""
        made: Settings = self._make(root())
        return made

    # ── sections ─────────────────────────────────────────────────────────────────────────────────────────

    def _make(self, section: Section) -> Any:
        values: dict[str, Any] = {}
        for name, member in section.members.items():
            if isinstance(member, Section):
                values[name] = self._make(member)
            elif member.path in self._values:
                value = self._values[member.path]
                if member.kind == "named_records" and member.record is not None:
                    value = {entry: member.record.make(**fields) for entry, fields in value.items()}
                values[name] = value
        return section.make(**values)

    def _section(self, section: Section, given: Given, path: str) -> None:
        entries = self._entries(section, given, path)
        for name, (place, entry) in entries.items():
            member = section.members.get(name)
            if member is None:
                self._mistakes.add(place, unknown_key(name, section, path))
            elif isinstance(member, Section):
                self._section(member, entry, member.path)
            else:
                self.set(member, entry)

    def _entries(self, section: Section, given: Given, path: str) -> dict[str, tuple[Place, Given]]:
        """The entries of a section; ``broker: address`` stands for ``broker: {url: address}``."""
        if isinstance(given.value, dict):
            return given.value
        if given.broken or given.missing:
            self.failed.update([key.path for key in leaves(section)] if given.broken else [])
            return {}
        bare = section.bare
        if bare is not None and (isinstance(given.value, str) or (given.value is None and bare.optional)):
            return {bare.name: (given.place, given)}
        if given.value is not None:
            self._report(
                path, given, Wrong("must be a section", f"its keys are {', '.join(section.members)}")
            )
        return {}

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────

    def _value(self, key: Key, given: Given, path: str) -> Any:
        """Read a value of any kind and note its places; `_BAD` if a mistake was noted."""
        if given.broken:
            return _BAD
        if key.kind in ONE_VALUE:
            try:
                value = read_scalar(key, given)
            except Wrong as wrong:
                return self._report(path, given, wrong)
            self.places[path] = given.place
            return value
        for stale in [place for place in self.places if place.startswith(f"{path}[")]:
            del self.places[stale]
        before = len(self._mistakes)
        value = {
            "texts": self._texts,
            "records": self._records,
            "named_texts": self._named_texts,
            "named_values": self._named_values,
            "named_records": self._named_records,
        }[key.kind](key, given, path)
        if len(self._mistakes) > before:
            return _BAD
        self.places[path] = given.place
        return value

    def _texts(self, key: Key, given: Given, path: str) -> Any:
        if given.text and isinstance(given.value, str):
            parts = [part.strip() for part in given.value.split(",")]
            given = Given([Given(part, given.place) for part in parts if part], given.place)
        if not isinstance(given.value, list):
            plain = isinstance(given.value, str) and given.value.isprintable() and "[" not in given.value
            mend = f"write [{', '.join(p.strip() for p in given.value.split(','))}]" if plain else ""
            return self._report(
                path, given, Wrong("must be a list", "" if "://" in mend or "@" in mend else mend)
            )
        if not given.value and key.default:
            return self._report(
                path, given, Wrong("must name at least one", f"the default is [{', '.join(key.default)}]")
            )
        found: list[str] = []
        for i, item in enumerate(given.value):
            try:
                text = item.broken or read_text(key, item)
                if text in found:
                    raise Wrong("must not name anything twice", "delete one of the two")
            except Wrong as wrong:
                self._report(path, item, wrong)
                continue
            self.places[f"{path}[{i}]"] = item.place
            found.append(text)
        return tuple(found)

    def _records(self, key: Key, given: Given, path: str) -> Any:
        assert key.record is not None
        if not isinstance(given.value, list):
            return self._report(path, given, Wrong(f"must be a list such as {key.example}"))
        made = []
        for i, item in enumerate(given.value):
            fields = self._record(key.record, item, f"{path}[{i}]")
            if fields is not None:
                made.append(key.record.make(**fields))
        return tuple(made)

    def _named_records(self, key: Key, given: Given, path: str) -> Any:
        assert key.record is not None
        earlier = self._values.get(key.path, {})
        entries = self._named(key, given, path)
        found = {name: self._record(key.record, entry, f"{path}.{name}") for name, entry in entries.items()}
        return {
            name: {**earlier.get(name, {}), **fields} for name, fields in found.items() if fields is not None
        }

    def _named_texts(self, key: Key, given: Given, path: str) -> Any:
        found: dict[str, str] = {}
        for name, entry in self._named(key, given, path).items():
            try:
                found[name] = read_text(key, entry)
                self.places[f"{path}.{name}"] = entry.place
            except Wrong as wrong:
                self._report(f"{path}.{name}", entry, wrong)
        return found

    def _named_values(self, key: Key, given: Given, path: str) -> Any:
        found: dict[str, Any] = {}
        for name, entry in self._named(key, given, path).items():
            found[name] = _plain(entry)
            self.places[f"{path}.{name}"] = entry.place
        return found

    def _named(self, key: Key, given: Given, path: str) -> dict[str, Given]:
        """The entries of a mapping with names of the user's own."""
        if given.value is None and given.missing:
            return {}
        if not isinstance(given.value, dict):
            self._report(path, given, Wrong(f"must be a mapping such as {key.example}"))
            return {}
        return {name: entry for name, (_, entry) in given.value.items() if not entry.broken}

    def _record(self, section: Section, given: Given, path: str) -> dict[str, Any] | None:
        """The fields of one entry."""
        if given.missing:
            return {}
        if not isinstance(given.value, dict):
            self._report(
                path, given, Wrong("must be a mapping", f"its keys are {', '.join(section.members)}")
            )
            return None
        fields: dict[str, Any] = {}
        for name, (place, entry) in given.value.items():
            member = section.members.get(name)
            if isinstance(member, Key):
                value = self._value(member, entry, f"{path}.{name}")
                if value is _BAD:
                    # Nothing is concluded from what the rest of the entry does not say.
                    self.failed.add(path.partition("[")[0])
                fields.update({} if value is _BAD else {name: value})
            else:
                self._mistakes.add(place, unknown_key(name, section, path))
        for name, member in section.members.items():
            if isinstance(member, Key) and member.required and name not in given.value:
                self._mistakes.add(
                    given.place,
                    f"{label(path)} needs {name}: {member.help[0].lower()}{member.help[1:].rstrip('.')}",
                )
        return fields

    def _report(self, path: str, given: Given, wrong: Wrong) -> Any:
        """Note a mistake as ``path must be ..., not value; mend``."""
        is_what = given.shown or quoted(given.value)
        contrast = f", not {is_what}" if wrong.what.startswith("must be") else f": {is_what}"
        if given.missing:
            contrast = ""
        mend = f"; {wrong.mend}" if wrong.mend else ""
        self._mistakes.add(given.place, f"{label(path)} {wrong.what}{contrast}{mend}")
        return _BAD


def _plain(given: Given) -> Any:
    """The data that somebody wrote, as it is."""
    if isinstance(given.value, dict):
        return {name: _plain(entry) for name, (_, entry) in given.value.items()}
    if isinstance(given.value, list):
        return [_plain(entry) for entry in given.value]
    return given.value
