"""Options of the commands. Each is declared once, as a field of a frozen dataclass.

A field made by `option` carries the help text, the default, the range and the help panel. The command line,
configuration files, the flex template and the Python API are derived from these fields by `options_of` and `build`.

A field whose type is itself a dataclass of options brings all of those along: users see them under their own names.
"""

import dataclasses
import datetime
import os
import types
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import UsageError
from .file_urls import to_path

PATHS, COLUMNS, RULES, POLICY, MEASURE, RUN = PANELS = (
    "Input and output",
    "Columns of the log",
    "Rules: what is dropped without a model",
    "What is dropped as noise",
    "What is measured",
    "Running",
)
"""Headings in the help of a command, in the order in which they are shown."""

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1

_METADATA = "iadsr option"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that an option takes; None: no bound on that side."""

    minimum: float | None = None
    """Smallest value."""
    maximum: float | None = None
    """Largest value."""
    above: float | None = None
    """Values are larger than this."""
    below: float | None = None
    """Values are smaller than this."""

    def __contains__(self, value: float) -> bool:
        """Whether the option takes the number. It never takes NaN."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and value == value
        )

    def __str__(self) -> str:
        """Writes the range, such as `0<=x<1`; nothing if every number is in it."""
        low = f"{self.above}<" if self.above is not None else f"{self.minimum}<=" if self.minimum is not None else ""
        high = f"<{self.below}" if self.below is not None else f"<={self.maximum}" if self.maximum is not None else ""
        if low and not high:
            return f"x>{self.above}" if self.above is not None else f"x>={self.minimum}"
        return f"{low}x{high}" if high else ""


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, as its field declares it."""

    name: str
    """Name for users, with underscores: `drop_rate` is `--drop-rate` on the command line, and `from_`, which would be a
    keyword of Python without its last character, is `--from`."""
    type: Any
    """The annotation of its field."""
    default: Any
    """Value if it is not given; `dataclasses.MISSING` if it must be given."""
    help: str
    """What it means, in one or two sentences."""
    panel: str
    """Heading under which help shows it, one of PANELS."""
    range: Range = Range()
    """Numbers that it takes."""
    metavar: str | None = None
    """Name of the value in help; None: from the type."""
    instead_of: str | None = None
    """Name of the option of the same dataclass that this one replaces; only one of the two may be given."""
    positional: bool = False
    """Whether the value is given without a name."""

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.rstrip("_").replace("_", "-")

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is dataclasses.MISSING

    @property
    def kinds(self) -> tuple[Any, ...]:
        """What a value may be: `float | Literal["auto"]` gives (float, "auto")."""
        return tuple(_kinds(self.type))


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    panel: str,
    name: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    metavar: str | None = None,
    instead_of: str | None = None,
    positional: bool = False,
) -> Any:
    """Declares an option as a field of a dataclass; see `Option` and `Range` for the arguments.

    Args:
        default: The default; without one the option must be given.
        help: What the option means. It stands in for the docstring of the field.
        panel: Heading under which help shows it.
        name: Name for users, if it is not the name of the field.
        minimum: Smallest value.
        maximum: Largest value.
        above: Values are larger than this.
        below: Values are smaller than this.
        metavar: Name of the value in help.
        instead_of: Field that must not be given together with this one.
        positional: Whether the value is given without a name.
    """
    declared = {
        "name": name,
        "help": help,
        "panel": panel,
        "range": Range(minimum, maximum, above, below),
        "metavar": metavar,
        "instead_of": instead_of,
        "positional": positional,
    }
    return dataclasses.field(default=default, metadata={_METADATA: declared})


def shared(owner: type, field_name: str, **changes: Any) -> Any:
    """Declares an option as another dataclass declares it. `changes` may hold another `help`, `panel` or `default`."""
    (field,) = (field for field in dataclasses.fields(owner) if field.name == field_name)
    declared = {**field.metadata[_METADATA], **changes}
    default = declared.pop("default", field.default)
    return dataclasses.field(default=default, metadata={_METADATA: declared})


@cache
def options_of(cls: type) -> Mapping[str, Option]:
    """Returns the options of a dataclass and of those inside it, by their names for users, in the order of PANELS."""
    found: list[Option] = []
    for _, declared, inner in _fields(cls):
        found += [declared] if declared else options_of(inner).values()
    found.sort(key=lambda each: PANELS.index(each.panel))
    return types.MappingProxyType({each.name: each for each in found})


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """Makes an instance from values by their names for users; options that are not among them get their defaults.

    Values may have the forms that YAML and Python give them: paths, dates and times stand for their text. Where a list
    of names is taken, text with commas stands for one, as on the command line, and numbers and booleans are names.

    Raises:
        UsageError: A value is none that its option takes.
    """
    arguments = {}
    for field_name, declared, inner in _fields(cls):
        if declared is None:
            arguments[field_name] = build(inner, values)
        elif declared.name in values:
            arguments[field_name] = _as_declared(values[declared.name], declared)
    return cls(**arguments)


def check_options(options: Any) -> None:
    """Checks each option of a dataclass. Every dataclass of options calls this from `__post_init__`.

    A file:// URL among the inputs and outputs becomes a path.

    Raises:
        UsageError: A value is of the wrong kind or out of range, or two options exclude each other.
    """
    for field_name, declared, _ in _fields(type(options)):
        if declared is None:
            continue
        value = getattr(options, field_name)
        if not any(_is_a(value, kind) for kind in declared.kinds):
            raise UsageError(
                f"{declared.flag} does not take this value",
                code="OPTION-VALUE",
                found=repr(value),
                expected=_in_words(declared.kinds),
                fix=f"correct {declared.flag}",
            )
        if _is_a(value, float) and value not in declared.range:
            raise UsageError(
                f"{declared.flag} is out of range",
                code="OPTION-RANGE",
                found=f"{value:.15g}" if isinstance(value, float) else str(value),
                expected=str(declared.range) or _in_words(declared.kinds),
                fix=f"correct {declared.flag}",
            )
        if declared.panel == PATHS and isinstance(value, str):
            object.__setattr__(options, field_name, to_path(value))
    _refuse_both(options)


def _refuse_both(options: Any) -> None:
    declared = {field_name: each for field_name, each, _ in _fields(type(options)) if each}
    for field_name, each in declared.items():
        if each.instead_of is None or getattr(options, field_name) == each.default:
            continue
        other = declared[each.instead_of]
        value, excluded = getattr(options, field_name), getattr(options, each.instead_of)
        if excluded != other.default:
            raise UsageError(
                f"{other.flag} excludes {each.flag}",
                code="OPTION-BOTH",
                found=f"{other.flag} {excluded} and {each.flag} {value}",
                fix="give one of them",
            )


@cache
def _fields(cls: type) -> list[tuple[str, Option | None, Any]]:
    """Returns each field's name with its option, or with the dataclass of options that it holds."""
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        hint, metadata = hints[field.name], field.metadata.get(_METADATA)
        if metadata is None:
            found.append((field.name, None, hint))
        else:
            declared = {**metadata, "name": metadata["name"] or field.name}
            found.append((field.name, Option(**declared, type=hint, default=field.default), None))
    return found


def _kinds(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [None if annotation is type(None) else annotation]


def _is_a(value: Any, kind: Any) -> bool:
    if kind is None or isinstance(kind, str):
        return value is None if kind is None else isinstance(value, str) and value == kind
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(each, get_args(kind)[0]) for each in value)
    return isinstance(value, kind)


def _in_words(kinds: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False", None: "nothing"}
    named = ["a list of names" if get_origin(kind) else str(words.get(kind, kind)) for kind in kinds]
    return " or ".join([*([", ".join(named[:-1])] if named[1:] else []), named[-1]])


def _as_declared(value: Any, declared: Option) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if any(get_origin(kind) is tuple for kind in declared.kinds):
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip()) or None
        if isinstance(value, Real):
            return (_name(value),)
        return tuple(map(_name, value)) if isinstance(value, (list, tuple)) else value
    return value.isoformat() if isinstance(value, datetime.date) else value


def _name(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (Real, datetime.date)) else value
