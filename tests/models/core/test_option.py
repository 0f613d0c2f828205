from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import pytest

from iadsr.models.core.errors import UsageError
from iadsr.models.core.option import PATHS, POLICY, RUN, Range, build, check_options, option, options_of, shared


@dataclass(frozen=True)
class Inner:
    speed: float | Literal["auto"] = option("auto", help="Speed.", panel=POLICY, minimum=0, below=10)
    limit: float | None = option(None, help="Limit.", panel=POLICY, above=0, maximum=1, instead_of="speed")

    def __post_init__(self):
        check_options(self)


@dataclass(frozen=True)
class Outer:
    path: str = option(name="log", help="Log.", panel=PATHS)
    note: str | None = option(None, help="Note.", panel=RUN)
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] | None = option(None, help="Names.", panel=PATHS)
    count: int = option(1, help="Count.", panel=RUN, minimum=1)
    fast: bool = option(False, help="Fast.", panel=RUN)
    weight: float | None = option(None, help="Weight.", panel=RUN)
    log_of: str | None = shared(Inner, "limit", default=None, help="Other.", panel=RUN)

    def __post_init__(self):
        check_options(self)


def test_options_are_listed_under_their_names_by_panel_and_those_of_inner_dataclasses_too():
    options = options_of(Outer)
    assert list(options) == ["log", "names", "speed", "limit", "note", "count", "fast", "weight", "log_of"]
    assert options["log"].required
    assert options["log"].flag == "--log"
    assert (options["speed"].default, options["speed"].kinds) == ("auto", (float, "auto"))
    assert options["limit"].kinds == (float, None)


def test_values_by_name_become_nested_dataclasses_and_the_rest_gets_its_default():
    built = build(Outer, {"log": Path("a/b"), "speed": 3, "names": ["x", "y"]})
    assert built == Outer("a/b", None, Inner(3), ("x", "y"))
    with pytest.raises(TypeError, match="path"):
        build(Outer, {})


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("a, b,", ("a", "b")),
        ("a", ("a",)),
        ("", None),
        ([1, "a", True, -1.5], ("1", "a", "true", "-1.5")),
        (3, ("3",)),
    ],
)
def test_a_list_of_names_may_be_written_as_yaml_and_python_would(given, taken):
    assert build(Outer, {"log": "x", "names": given}).names == taken


def test_a_date_stands_for_its_text():
    assert build(Outer, {"log": "x", "note": date(2026, 1, 31)}).note == "2026-01-31"
    assert build(Outer, {"log": "x", "note": datetime(2026, 1, 31, 12, tzinfo=UTC)}).note == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("values", "code", "expected"),
    [
        ({"speed": -0.1}, "OPTION-RANGE", "0<=x<10"),
        ({"speed": 10}, "OPTION-RANGE", "0<=x<10"),
        ({"speed": float("nan")}, "OPTION-RANGE", "0<=x<10"),
        ({"speed": "much"}, "OPTION-VALUE", "a number or auto"),
        ({"speed": None}, "OPTION-VALUE", "a number or auto"),
        ({"limit": 0}, "OPTION-RANGE", "0<x<=1"),
        ({"limit": True}, "OPTION-VALUE", "a number or nothing"),
        ({"count": 0}, "OPTION-RANGE", "x>=1"),
        ({"count": 1.5}, "OPTION-VALUE", "a whole number"),
        ({"fast": 1}, "OPTION-VALUE", "True or False"),
        ({"names": ("a", None)}, "OPTION-VALUE", "a list of names or nothing"),
        ({"names": {"a": "b"}}, "OPTION-VALUE", "a list of names or nothing"),
        ({"weight": float("nan")}, "OPTION-RANGE", "a number or nothing"),
        ({"log": 7}, "OPTION-VALUE", "text"),
        ({"speed": 1, "limit": 0.5}, "OPTION-BOTH", None),
    ],
)
def test_values_that_an_option_does_not_take_are_refused(values, code, expected):
    with pytest.raises(UsageError) as error:
        build(Outer, {"log": "x", **values})
    assert (error.value.code, error.value.expected) == (code, expected)
    assert f"--{next(iter(values))}" in error.value.what


def test_values_at_the_ends_of_a_range_are_taken():
    for values in ({"speed": 0}, {"speed": 9.99}, {"limit": 1}, {"count": 10**30}, {"names": ()}):
        build(Outer, {"log": "x", **values})


@pytest.mark.parametrize(
    ("range", "text"),
    [
        (Range(), ""),
        (Range(minimum=1), "x>=1"),
        (Range(above=0), "x>0"),
        (Range(maximum=5), "x<=5"),
        (Range(minimum=0, maximum=1), "0<=x<=1"),
        (Range(above=0, below=1), "0<x<1"),
    ],
)
def test_a_range_is_written_as_an_inequality(range, text):
    assert str(range) == text
