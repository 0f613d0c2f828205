"""Reads the options of the rules from a file, so that training and cleaning can share them."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from ...models.core.errors import InputError
from ...models.core.option import build, options_of
from ...models.core.plain_yaml import load_plain_yaml
from ..files.storage import read_bytes
from .rule_options import RuleOptions

_FILE = "rules"


def read_rules_file(options: RuleOptions) -> RuleOptions:
    """Returns the options with the values of the file that they name. Values beside it win if they are no defaults.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets what is no option of the rules.
        UsageError: A value is none that its option takes.
    """
    named = options_of(RuleOptions)
    fields = {_FILE: "file"}
    values = {name: getattr(options, fields.get(name, name)) for name in named}
    given = {name: value for name, value in values.items() if value != named[name].default}
    return build(RuleOptions, with_rules_file(given)) if options.file is not None else options


def with_rules_file(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of options by name, with those of the file of rules that they name. Values beside it win.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets what is no option of the rules.
    """
    given = dict(values)
    path = given.pop(_FILE, None)
    return given if path is None else {**_read(os.fspath(path)), **given}


def _read(path: str) -> dict[str, Any]:
    try:
        values = load_plain_yaml(read_bytes(path))
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ValueError(f"{type(values).__name__} instead of lines of option: value")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"The rules {path} are not YAML",
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
                f"The rules {path} set an option that rules do not have",
                code="RULES-OPTION",
                found=name,
                expected="one of " + ", ".join(sorted(known)),
                fix="correct the name; `iadsr clean --help` lists the options of the rules",
            )
    return named
