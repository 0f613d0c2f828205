"""Reads options of one dataclass from a YAML file that users write once and share between commands."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

import yaml

from ...models.core.errors import InputError, UsageError
from ...models.core.option import build, options_of
from ...models.core.plain_yaml import load_plain_yaml
from .storage import read_bytes


def with_option_file(values: Mapping[str, Any], name: str, options: type) -> dict[str, Any]:
    """Returns values of options by name, with those of the file that they name. Values beside it win.

    They also win over those of the file that they exclude, such as a threshold over a drop rate.

    Args:
        values: The values that are given.
        name: Name of the option that names the file, `rules` or `policy`.
        options: Dataclass of the options that the file may set.

    Raises:
        InputError: The file cannot be read, is not YAML, or sets another option.
        UsageError: An option does not take its value.
    """
    path = values.get(name)
    if path is None:
        return dict(values)
    read = _read(os.fspath(path), name, options)
    for each in options_of(options).values():
        pair = {each.name, each.instead_of}
        if each.instead_of is not None and any(values.get(one) is not None for one in pair):
            read = {option: value for option, value in read.items() if option not in pair}
    merged = {**read, **values}
    _check_values(os.fspath(path), name, {each: read[each] for each in read if each not in values}, merged, options)
    return merged


def _check_values(path: str, name: str, read: dict[str, Any], merged: dict[str, Any], options: type) -> None:
    """Names the file if what is wrong with all values is wrong with those of the file alone."""
    try:
        build(options, merged)
    except UsageError as error:
        try:
            build(options, read)
        except UsageError as alone:
            if str(alone) == str(error):
                raise error.found_in(f"in the file {path} of --{name}") from error


def _read(path: str, name: str, options: type) -> dict[str, Any]:
    try:
        values = load_plain_yaml(read_bytes(path))
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ValueError(f"{type(values).__name__} instead of lines of option: value")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"The file {path} of --{name} is not YAML",
            code="OPTIONS-YAML",
            found=" ".join(str(error).split()),
            expected="lines of option: value",
            fix="correct the file; it takes plain values only, no tags and no Python objects",
        ) from error
    known = [option for option in options_of(options) if option != name]
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    for option in named:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            raise InputError(
                f"The file {path} of --{name} sets an option that it cannot set",
                code="OPTIONS-UNKNOWN",
                found=option.replace("_", "-"),
                expected="one of " + ", ".join(sorted(each.replace("_", "-") for each in known)),
                fix=f"did you mean {close[0].replace('_', '-')}?"
                if close
                else "correct the name; `iadsr clean --help` lists all options",
            )
    return named
