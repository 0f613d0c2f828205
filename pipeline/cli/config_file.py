"""Configuration files: option values from YAML, below the flags and above the defaults."""

import difflib
from pathlib import Path
from typing import Any

import yaml

from ...models.core.errors import InputError

BEAM_SECTION = "beam"


MAX_BYTES = 1 << 16


MAX_DEPTH = 8
"""Levels of nesting; two are used."""


def read_config(path: Path, command: Any, written_for: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a configuration file for one command.

    Args:
        path: YAML file: option names (with dashes or underscores) to values, and Beam's flags under `beam:`.
        command: The click command, whose option names are the ones allowed.
        written_for: Another command, whose files will do as well: options that only it has are checked and passed over.

    Returns:
        The command's values by parameter name, and the Beam section.

    Raises:
        InputError: The file is missing, is not YAML, or sets an option that the command does not have, or to a kind of
            value that the option does not take.
    """
    try:
        values = _load(path)
    except OSError as error:
        raise InputError(
            f"Cannot read the configuration {path}",
            code="CONFIG-READ",
            found=error.strerror,
            fix="check the path given to --config",
        ) from error
    # Dates that do not exist, and nesting without end, are not errors of YAML's own.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"The configuration {path} is not YAML",
            code="CONFIG-YAML",
            fix="correct the file; it takes plain values only, no tags and no Python objects",
            found=" ".join(str(error).split()),
        ) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(
            f"The configuration {path} is not a mapping",
            code="CONFIG-MAPPING",
            fix="see --help for the options, and write each as option: value",
            found=type(values).__name__,
            expected="lines of option: value",
        )
    beam = values.pop(BEAM_SECTION, None) or {}
    if not isinstance(beam, dict):
        raise InputError(
            f"The section {BEAM_SECTION!r} of {path} is not a mapping",
            code="CONFIG-BEAM",
            fix="write Beam's flags below it, each as name: value",
            found=type(beam).__name__,
            expected="lines of flag: value",
        )
    own = _options_by_name(command)
    names = {**(_options_by_name(written_for) if written_for is not None else {}), **own}
    result = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            raise InputError(
                f"The configuration {path} sets an option that `iadsr {command.name}` does not have",
                code="CONFIG-OPTION",
                found=str(key),
                expected="one of " + ", ".join(sorted(names)),
                fix=f"did you mean {close[0]}?" if close else f"flags of Beam belong under {BEAM_SECTION}:",
            )
        checked = _check_value(path, str(key), value, names[name].is_flag)
        if name in own:
            result[own[name].name] = checked
    return result, beam


def _options_by_name(command: Any) -> dict[str, Any]:
    """Returns a command's options by their long names, which are a file's keys: `user_column` for --user-column."""
    return {
        flag.lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        if parameter.name != "config"
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    }


def _load(path: Path) -> Any:
    """Reads plain values only: no tag builds an object, and no anchor makes a small file large."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    depth = 0
    for event in yaml.parse(content, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("an alias (*name); write the value itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    _refuse_repeated(yaml.compose(content, yaml.SafeLoader))
    return yaml.safe_load(content)


def _refuse_repeated(node: Any) -> None:
    """Checks that nothing is set twice, of which YAML would take the last without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        name = str(key.value).replace("-", "_")
        if name in seen:
            raise ValueError(f"{name} is set twice")
        seen.add(name)
        _refuse_repeated(value)


def _check_value(path: Path, key: str, value: Any, is_flag: bool) -> Any:
    """Returns the value as the command line would give it; a list of names stands for names between commas."""
    if isinstance(value, list) and key.replace("-", "_") == "text_columns":
        return ",".join(map(str, value))
    if value is not None and (isinstance(value, (list, dict)) or isinstance(value, bool) != is_flag):
        raise InputError(
            f"The configuration {path} sets {key} to what it does not take",
            code="CONFIG-VALUE",
            found=f"{str(value)[:100]} ({type(value).__name__})",
            expected="true or false" if is_flag else "one number or text",
            fix="put text that YAML reads as something else between quotes",
        )
    return value
