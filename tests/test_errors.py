"""Every error has its own code, says what to do, and is explained in docs/errors.md."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from iadsr.models.core import errors

ROOT = Path(__file__).parents[1]
FAMILY = ("InputError", "StoreError", "UsageError", "ArtifactError", "ConservationError", "EngineError")
WITHOUT_SITE = {"BUG"}  # `main` prints it, and nothing raises it


@pytest.fixture(scope="module")
def sites(parse_source) -> list[tuple[str, ast.Call]]:
    """All places in the source that create an error of ours."""
    found = []
    for folder in ("models", "transforms", "pipeline", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(parse_source(path)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FAMILY:
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def code(call: ast.Call) -> str:
    (value,) = (keyword.value for keyword in call.keywords if keyword.arg == "code")
    assert isinstance(value, ast.Constant)
    return value.value


def test_every_error_names_a_code_what_was_seen_and_what_to_do(sites):
    assert len(sites) > 100
    for place, call in sites:
        given = {keyword.arg for keyword in call.keywords}
        assert {"code", "fix"} <= given, place
        assert given & {"found", "expected"}, place


def test_no_two_places_share_a_code(sites):
    counts = Counter(code(call) for _, call in sites)
    assert [name for name, count in counts.items() if count > 1] == []
    assert all(re.fullmatch(r"[A-Z]+(-[A-Z]+)*", name) for name in counts)


def test_the_page_of_errors_and_the_source_agree(sites):
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]+(?:-[A-Z]+)*) \| (.+) \| (.+) \|$", page, re.M)
    listed = [row[0] for row in rows]
    assert sorted(set(listed)) == sorted(listed)
    assert set(listed) == {code(call) for _, call in sites} | WITHOUT_SITE


def test_a_message_is_one_line_each_of_what_found_expected_and_try():
    error = errors.InputError("no such column", code="LOG-COLUMN", found="a", expected="b", fix="look")
    assert str(error).splitlines() == [
        "IADSR-LOG-COLUMN: no such column",
        "  found:    a",
        "  expected: b",
        "  try:      look",
    ]


def test_an_error_can_say_where_its_cause_lies_and_stays_the_same_otherwise():
    error = errors.UsageError("out of range", code="X", found="9", fix="lower it")
    placed = error.found_in("in the file a.yaml")
    assert (type(placed), placed.what) == (errors.UsageError, "out of range (in the file a.yaml)")
    assert (placed.code, placed.found, placed.expected, placed.fix) == ("X", "9", None, "lower it")


@pytest.mark.parametrize("hostile", ["a\nb", "\x1b[2J", "\x9b31m", "\u202eexe", "\ud800", "\x00", "\r", "\u2028"])
def test_no_part_of_a_message_brings_control_characters_or_lines_of_its_own(hostile):
    error = errors.ArtifactError(f"file {hostile}", code="X", found=hostile, expected=hostile, fix=hostile)
    assert hostile not in str(error)
    assert len(str(error).splitlines()) == 4
    str(error).encode()


def test_an_endless_name_is_cut():
    error = errors.InputError("x" * 1_000_000, code="X", found="y" * 1_000_000)
    assert len(str(error)) < 5000
    assert "(1,000,000 characters)" in str(error)
