"""The house stays in order: layers, no circle, no pool's name in the worker, rooms of a bearable size."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pools", "greenq")

LAYERS = (
    {"closing", "errors", "locating", "shortrepr"},
    {"config"},
    {"chords", "exchanges", "message", "radio"},
    {"codecs"},
    {"protocol", "failures"},
    {"dialing", "schemes", "serveraddress", "serverfailures", "tls"},
    {"sqlite", "redis", "amqp"},
    {"brokers"},
    {"results"},
    {"throttling"},
    {"signals", "events"},
    {"request", "batches", "options", "optionchecks", "signatures", "call", "callheaders"},
    {"middleware"},
    {
        "asyncresult",
        "eagerresult",
        "gathering",
        "resultset",
        "resulttree",
        "resultwatch",
        "joining",
        "deadletters",
    },
    {"classhooks", "lifecycle", "optionattributes", "publishsignals", "typedarguments"},
    {
        "importing",
        "routing",
        "planning",
        "annotations",
        "decorators",
        "registry",
        "shared",
        "control",
        "composer",
        "sender",
        "retrying",
        "steps",
        "running",
        "eager",
        "canvas",
        "task",
        "app",
        "loading",
    },
    {"worker"},
    {"cli"},
)
"""The parts of greenq, lowest first: a part imports only from its own layer and those before it."""
FREE = {"testing", "contrib", "__main__"}
"""May import every layer; nothing imports them."""

POOLS = {"gevent", "eventlet", "prefork", "threads", "solo", "asyncio"}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "misc"}
MOST_LINES = 400
MOST_LINES_IN_A_FUNCTION = 80


@cache
def modules() -> dict[str, Path]:
    """Dotted name → file, of both packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of our own that one imports, anywhere in it: in functions and for type checking too."""
    found: set[str] = set()
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            # `from package import module` needs the module; the package around it is imported in any case.
            names = {f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"}
            found.update(name if name in modules() else node.module or "" for name in names)
    return frozenset(name for name in found if name in modules() and name != module)


def layer(module: str) -> int:
    part = module.split(".")[1]
    numbers = [number for number, parts in enumerate(LAYERS) if part in parts]
    assert numbers, f"greenq.{part} has no place in LAYERS: give it one"
    return numbers[0]


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def python_files() -> Iterator[Path]:
    for top in (*PACKAGES, "tests", "examples", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            # Benchmarks keep whole environments in a hidden directory.
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                yield path


def test_pools_import_nothing_of_greenq() -> None:
    for module in modules():
        if module.startswith("pools"):
            assert not [name for name in imports(module) if name.startswith("greenq")], module


def test_no_import_goes_round_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "a circle: " + " → ".join((*way[way.index(module) :], module))
        if module not in done:
            for name in sorted(imports(module)):
                visit(name, (*way, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_a_package_is_imported_by_nothing_inside_it_except_for_its_own_modules() -> None:
    for module in modules():
        assert "greenq" not in imports(module) or module == "greenq.__main__", (
            f"{module} imports greenq itself"
        )
        assert "pools" not in imports(module) or module.startswith("greenq"), f"{module} imports pools itself"


def test_each_layer_of_greenq_imports_only_those_before_it() -> None:
    for module in modules():
        part = module.split(".")[1] if "." in module else ""
        if not module.startswith("greenq.") or part in FREE:
            continue
        for name in imports(module):
            if name.startswith("greenq."):
                assert name.split(".")[1] not in FREE, f"{module} imports {name}"
                assert layer(name) <= layer(module), f"{module} imports {name}, which lies above it"


def test_base_modules_never_import_their_implementations() -> None:
    for module in modules():
        if module.endswith(".base"):
            siblings = [name for name in imports(module) if name.startswith(module.removesuffix("base"))]
            assert set(siblings) <= {"pools.errors"}, f"{module} imports {siblings}"


def test_the_worker_does_not_know_which_pool_it_has() -> None:
    words = re.compile(r"\b(gevent|eventlet|greenlet|prefork)\b", re.IGNORECASE)
    for module, path in modules().items():
        if not module.startswith("greenq.worker"):
            continue
        for node in ast.walk(tree(path)):
            where = f"{module}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {name.partition(".")[0] for name in names} & {"gevent", "eventlet", "greenlet"}, (
                    where
                )
                assert not any(name in {f"pools.{pool}" for pool in POOLS} for name in names), where
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in POOLS, f"{where} names the pool {node.value}"
                assert not words.search(node.value), f"{where} says {node.value!r}"
            elif isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                assert not words.search(name.replace("_", " ")), f"{where} has the name {name}"


@pytest.mark.parametrize("path", list(python_files()), ids=lambda path: str(path.relative_to(ROOT)))
class TestARoom:
    def test_is_no_longer_than_can_be_read_at_once(self, path: Path) -> None:
        lines = path.read_text().splitlines()
        if len(lines) > MOST_LINES:
            comment = next((line for line in lines if line.startswith("#")), "")
            first = next((n for n, line in enumerate(lines) if line.startswith(("import ", "from "))), 0)
            assert comment, f"{len(lines)} lines, and no comment says why"
            assert lines.index(comment) < first, "the comment that says why comes after the imports"

    def test_has_functions_that_fit_on_a_screen(self, path: Path) -> None:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= MOST_LINES_IN_A_FUNCTION, f"{node.name} has {length} lines"

    def test_is_named_for_what_lives_there(self, path: Path) -> None:
        assert not {path.stem, path.parent.name} & FORBIDDEN_NAMES
        assert not re.fullmatch(r"base\d", path.stem)

    def test_leaves_nothing_for_later(self, path: Path) -> None:
        words = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"))
        found = re.search(rf"\b({words})\b", path.read_text())
        assert not found, f"it says {found and found[0]}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_module_says_what_it_is_for(module: str) -> None:
    if not module.rpartition(".")[2].startswith("_"):
        assert ast.get_docstring(tree(modules()[module])), f"{module} has no docstring"


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_public_class_and_function_says_what_it_is_for(module: str) -> None:
    body = tree(modules()[module]).body
    public = {
        ast.literal_eval(element)
        for node in body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for element in getattr(node.value, "elts", [])
    }
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name in public:
            if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
                continue  # the function itself says it, below its signatures
            assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"


def test_nothing_committed_names_the_place_it_was_written_in() -> None:
    words = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "/tmp/bri" + "ef", r"\.libr" + "ary/")))
    for path in tracked():
        if path.suffix in (".png", ".svg", ".ico", ".gz"):
            continue
        found = words.search(path.read_text(errors="replace"))
        assert not found, f"{path.relative_to(ROOT)} says {found and found[0]}"


def test_nothing_built_is_committed() -> None:
    for path in tracked():
        relative = path.relative_to(ROOT)
        assert not {"__pycache__", "_build", "dist", "build", ".venv"} & set(relative.parts), relative
        assert path.stat().st_size < 1024 * 1024, f"{relative} is larger than 1 MiB"
