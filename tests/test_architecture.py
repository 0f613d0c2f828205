"""The layout of docs/architecture.md: floors and rooms import downwards only, and the tests mirror the source."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A room may import from the rooms before it, and from every room of the floors before its own.
FLOORS = {
    "models": ("core", "noise", "vectors", "encoders", "detector", "training", "evaluation"),
    "transforms": ("contract", "files", "read", "shuffle", "rules", "items", "judge", "write", "run", "export"),
    "pipeline": ("engines", "report", "commands", "cli"),
}
# These modules import nothing, and everybody may import them.
SHARED_BY_ALL = {("models", "detector", "features")}

Module = tuple[str, ...]


def modules() -> list[tuple[Module, Path]]:
    """The modules of the three floors, each as its parts below iadsr, with its file."""
    return [(path.relative_to(ROOT).with_suffix("").parts, path) for f in FLOORS for path in (ROOT / f).rglob("*.py")]


def imported(tree: ast.AST, module: Module) -> Iterator[tuple[int, Module]]:
    """Yields line and target of each import, wherever in a module it stands: ("iadsr", floor, room, ...) for ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ("iadsr", *module)[: -node.level] if node.level else ()
            name = tuple(node.module.split(".")) if node.module else ()
            yield from ((node.lineno, (*parent, *name, alias.name)) for alias in node.names)


def rank(module: Module) -> tuple[int, int]:
    """The height of a module's room. What stands on a floor itself, outside of its rooms, is above all of them."""
    if not module:
        return len(FLOORS), 0  # iadsr itself
    floor, *rest = module
    rooms = FLOORS[floor]
    return list(FLOORS).index(floor), rooms.index(rest[0]) if rest and rest[0] in rooms else len(rooms)


def upward(tree: ast.AST, module: Module) -> list[str]:
    """The imports of a module that lead upwards, as "line: target"."""
    return [
        f"{line}: {'.'.join(target)}"
        for line, target in imported(tree, module)
        if target[0] == "iadsr" and target[1:4] not in SHARED_BY_ALL and rank(target[1:]) > rank(module)
    ]


def test_imports_lead_downwards_between_floors_and_between_rooms(parse_source):
    found = {"/".join(module): upward(parse_source(path), module) for module, path in modules()}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("models/core/x", "from ..noise.share import y", ["1: iadsr.models.noise.share.y"]),
        ("models/noise/x", "from ..core.errors import y\nimport numpy", []),
        ("transforms/read/x", "def f():\n    from ..judge import tally", ["2: iadsr.transforms.judge.tally"]),
        ("transforms/read/x", "if TYPE_CHECKING:\n    from ..run.z import y", ["2: iadsr.transforms.run.z.y"]),
        ("models/core/x", "import iadsr.pipeline.cli.app", ["1: iadsr.pipeline.cli.app"]),
        ("pipeline/report/x", "from ... import pipeline", ["1: iadsr.pipeline"]),
        ("transforms/contract/x", "from ...models.evaluation.ranking import y", []),
        ("transforms/contract/x", "from ...pipeline.engines import y", ["1: iadsr.pipeline.engines.y"]),
        ("models/core/x", "from ..detector.features import y", []),
        ("pipeline/__main__", "from .cli import main", []),
        ("pipeline/cli/x", "import iadsr", ["1: iadsr"]),
    ],
)
def test_an_upward_import_is_seen_wherever_it_stands(module, source, expected):
    assert upward(ast.parse(source), tuple(module.split("/"))) == expected


def test_models_know_nothing_of_beam(parse_source):
    found = [path for module, path in modules() if module[0] == "models" and "apache_beam" in names(path, parse_source)]
    assert found == []


def names(path: Path, parse_source) -> set[str]:
    """The first part of everything that a module imports."""
    return {target[0] for _, target in imported(parse_source(path), ())}


def test_modules_that_everybody_may_import_import_nothing(parse_source):
    for module in SHARED_BY_ALL:
        assert list(imported(parse_source(ROOT.joinpath(*module).with_suffix(".py")), module)) == []


def test_every_room_is_listed_here_and_says_what_it_is_for(parse_source):
    for floor, rooms in FLOORS.items():
        assert {path.parent.name for path in (ROOT / floor).glob("*/*.py")} == set(rooms)
        for folder in (ROOT / floor, *(ROOT / floor / room for room in rooms)):
            assert ast.get_docstring(parse_source(folder / "__init__.py")), folder


def test_no_two_modules_share_a_name():
    counts = Counter(module[-1] for module, _ in modules())
    del counts["__init__"]
    assert [name for name, count in counts.items() if count > 1] == []


def test_tests_mirror_the_source():
    """tests/FLOOR/ROOM/test_MODULE.py tests FLOOR/ROOM/MODULE.py; tests that span rooms stand in tests/FLOOR itself."""
    tests = [
        path.relative_to(ROOT / "tests") for floor in FLOORS for path in (ROOT / "tests" / floor).rglob("test_*.py")
    ]
    mirrored = [path.parent / path.name.removeprefix("test_") for path in tests if len(path.parts) > 2]
    assert len(mirrored) > 50
    assert [path for path in mirrored if not (ROOT / path).is_file()] == []
