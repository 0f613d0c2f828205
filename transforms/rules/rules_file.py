"""Reads the options of the rules from a file, so that training and cleaning can share them."""

import dataclasses
from typing import Any

import yaml

from ...models.core.errors import InputError
from ...models.core.option import build, options_of
from ...models.core.plain_yaml import load_plain_yaml
from ..files.storage import read_bytes
from .rule_options import RuleOptions

_FILE = "rules"


def read_rules_file(options: RuleOptions) -> RuleOptions:
    """Returns the options with the values of the file that they name. Values that are given beside it win.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets what is no option of the rules.
        UsageError: A value is none that its option takes.
    """
    if options.file is None:
        return options
    try:
        values = load_plain_yaml(read_bytes(options.file))
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ValueError(f"{type(values).__name__} instead of lines of option: value")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"The rules {options.file} are not YAML",
            code="RULES-YAML",
            found=" ".join(str(error).split()),
            expected="lines of option: value",
            fix="correct the file; it takes plain values only, no tags and no Python objects",
        ) from error
    known = [name for name in options_of(RuleOptions) if name != _FILE]
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    for name in named:
        if name not in known:
            raise InputError(
                f"The rules {options.file} set an option that rules do not have",
                code="RULES-OPTION",
                found=name,
                expected="one of " + ", ".join(sorted(known)),
                fix="correct the name; `iadsr clean --help` lists the options of the rules",
            )
    return build(RuleOptions, {**named, **_given(options)})


def _given(options: RuleOptions) -> dict[str, Any]:
    """Returns the values that differ from their defaults, by their names for users."""
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name != "file" and getattr(options, field.name) != field.default
    }
