"""What is made from the schema stays true to it: starter file, manual, conf/, JSON schema."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from greenq.config import Settings, load
from greenq.config.celery_names import CELERY_NAMES, celery_meaning
from greenq.config.json_schema import json_schema
from greenq.config.keys import Section, _shape, leaves, root, variables
from greenq.config.loading import _KUBERNETES
from greenq.config.reference import refresh
from greenq.config.starter import starter
from greenq.errors import ConfigError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "configuration.md"
CONF = [ROOT / "conf" / "development.yaml", ROOT / "conf" / "production.yaml"]
NAMES = {"pool": ["gevent"], "serializer": ["json", "msgpack"], "compression": ["gzip"]}


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "greenq.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ={}, names=NAMES).settings


# ── the starter file ─────────────────────────────────────────────────────────────────────────────────────


def test_the_starter_file_changes_nothing(tmp_path: Path) -> None:
    assert load_text(tmp_path, starter()) == Settings()


def test_every_key_in_the_starter_file_is_shown_at_its_default(tmp_path: Path) -> None:
    active = re.sub(r"(?m)^( *)#(?=\w+:)", r"\1", starter())
    assert load_text(tmp_path, active) == Settings()
    given = load(tmp_path / "greenq.yaml", environ={})
    simple = [key.path for key in leaves(root()) if key.record is None and key.kind != "named_texts"]
    assert [path for path in simple if given.origin(path) == "default"] == []


def test_examples_in_help_texts_are_values_that_load(tmp_path: Path) -> None:
    for key in leaves(root()):
        if key.example:
            section, _, name = key.path.rpartition(".")
            line = f"{section}: {{{name}: {key.example}}}\n" if section else f"{name}: {key.example}\n"
            assert load_text(tmp_path, line) != Settings()


# ── the manual and conf/ ─────────────────────────────────────────────────────────────────────────────────


def test_the_tables_of_the_manual_are_those_of_the_schema() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refresh(page) == page, f"run: python -m greenq.config.reference {PAGE.relative_to(ROOT)}"
    for key in leaves(root()):
        assert f"| `{key.path}` |" in page


def test_the_yaml_of_the_manual_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        load_text(tmp_path, block)


def test_the_mistakes_of_the_manual_are_what_one_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "app: a\nworker:\n  concurency: 5\n  lease: 15 sec\n\ntasks:\n  serializer: pickle\n"
    Path("greenq.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(environ={})
    assert str(caught.value) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.name)
def test_the_files_of_conf_load(file: Path) -> None:
    settings = load(file, environ={}, names=NAMES).settings
    assert settings.app == "shop.tasks:app"
    assert "pickle" not in settings.accept
    assert settings.tasks.time_limit is not None


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.name)
def test_a_file_loads_in_a_moment(file: Path) -> None:
    def once() -> float:
        began = time.process_time()
        load(file, environ={})
        return time.process_time() - began

    assert min(once() for _ in range(5)) < 0.02


# ── the JSON schema ──────────────────────────────────────────────────────────────────────────────────────


def at(schema: Mapping[str, Any], path: str) -> Any:
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema


def test_the_json_schema_has_every_key_with_its_meaning() -> None:
    schema = json_schema(NAMES)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for key in leaves(root()):
        described = at(schema, key.path)
        assert described["description"].startswith(key.help)
        default = list(key.default) if isinstance(key.default, tuple) else key.default
        assert described["default"] == default
    for member in root().members.values():
        if isinstance(member, Section):
            assert at(schema, member.path)["additionalProperties"] is False
    assert at(schema, "worker.pool")["anyOf"][0] == {"enum": ["gevent"]}
    assert set(at(schema, "routes")["items"]["properties"]) >= {"match", "function", "queue"}


# A validator for just the words that our schema uses; any other word fails, so that none goes unchecked.
CHECKED = {
    "type", "properties", "additionalProperties", "required", "items", "anyOf", "enum", "pattern", "minimum",
    "maximum", "minLength", "minItems", "uniqueItems", "patternProperties",
}  # fmt: skip
COMMENTS = {"$schema", "$id", "title", "description", "default"}
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "null": type(None), "boolean": bool, "number": (int, float),
    "integer": int,
}  # fmt: skip


def is_of(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def fits(schema: Any, value: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    assert set(schema) <= CHECKED | COMMENTS, set(schema) - CHECKED - COMMENTS
    kinds = schema.get("type", list(TYPES))
    if not any(is_of(value, name) for name in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "anyOf" in schema and not any(fits(form, value) for form in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0) and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, list):
        enough = len(value) >= schema.get("minItems", 0)
        return enough and all(fits(schema.get("items", True), entry) for entry in value)
    if isinstance(value, dict):
        return mapping_fits(schema, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def mapping_fits(schema: Any, value: dict[str, Any]) -> bool:
    for name, entry in value.items():
        form = schema.get("properties", {}).get(name)
        if form is None and any(re.search(p, name) for p in schema.get("patternProperties", {})):
            continue
        if not fits(schema.get("additionalProperties", True) if form is None else form, entry):
            return False
    return set(schema.get("required", ())) <= set(value)


@pytest.mark.parametrize("file", CONF, ids=lambda file: file.name)
def test_the_json_schema_accepts_the_files_of_conf(file: Path) -> None:
    assert fits(json_schema(NAMES), yaml.safe_load(file.read_text()))


def test_the_json_schema_accepts_the_starter_file_as_it_is_and_with_every_key_active() -> None:
    assert fits(json_schema(NAMES), yaml.safe_load(starter()))
    assert fits(json_schema(NAMES), yaml.safe_load(re.sub(r"(?m)^( *)#(?=\w+:)", r"\1", starter())))


@pytest.mark.parametrize(
    "text",
    [
        "concurrency: 5",
        "worker: {concurency: 5}",
        "worker: {concurrency: 0}",
        "worker: {concurrency: ten}",
        "worker: {queues: celery}",
        "worker: {queues: []}",
        "worker: text",
        "worker: {lease: 30 sec}",
        "worker: {lease: null}",
        "tasks: {acks_late: 'true'}",
        "tasks: {compress_over: 4K}",
        "tasks: {priority: 10}",
        "routes: [{mach: a, queue: b}]",
        "routes: {a: b}",
        "queues: {a: {prority: 1}}",
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(text: str, tmp_path: Path) -> None:
    assert not fits(json_schema(NAMES), yaml.safe_load(text))
    with pytest.raises(ConfigError):
        load_text(tmp_path, text)


# ── the tables behind ────────────────────────────────────────────────────────────────────────────────────


def test_celery_names_lead_to_settings_that_there_are() -> None:
    known = {key.path for key in leaves(root())}
    assert {path for path, _ in CELERY_NAMES.values()} <= known | {""}
    assert all(path or remark.endswith("delete it") for path, remark in CELERY_NAMES.values())
    for old, path in {
        "BROKER_URL": "broker.url",
        "CELERY_RESULT_BACKEND": "results.url",
        "CELERYD_CONCURRENCY": "worker.concurrency",
        "CELERY_TASK_RESULT_EXPIRES": "results.expires",
        "CELERYD_TASK_SOFT_TIME_LIMIT": "tasks.soft_time_limit",
        "CELERY_ALWAYS_EAGER": "tasks.eager",
        "CELERY_DEFAULT_QUEUE": "tasks.queue",
        "CELERY_MESSAGE_COMPRESSION": "tasks.compression",
        "CELERYD_PREFETCH_MULTIPLIER": "worker.prefetch",
    }.items():
        assert (celery_meaning(old) or ("",))[0] == path
    assert celery_meaning("concurrency") is None


def test_no_setting_has_the_name_of_a_variable_of_kubernetes() -> None:
    assert [name for name in variables() if _KUBERNETES.fullmatch(name)] == []


def test_a_kind_of_setting_that_nothing_can_read_is_refused_at_once() -> None:
    @dataclass
    class Odd:
        pass

    for annotation in (
        bytes,
        set[str],
        tuple[int, ...],
        tuple[str, str],
        dict[str, int],
        int | str,
        Odd | str,
    ):
        with pytest.raises(TypeError, match="the schema cannot hold"):
            _shape(annotation)
