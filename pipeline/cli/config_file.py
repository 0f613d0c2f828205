"""Configuration files: values of options from YAML. They win over defaults, and flags win over them."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import yaml

from ...models.core.errors import InputError
from ...models.core.option import Option
from ...models.core.plain_yaml import MAX_BYTES, load_plain_yaml

BEAM_SECTION = "beam"
ENGINE_SECTION = "engine"


def read_config(
    path: Path, command: str, options: Mapping[str, Option], others: Mapping[str, Option]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a configuration file for one command.

    Args:
        path: YAML file: option names (with dashes or underscores) to values, and Beam's flags under `beam:`.
        command: Name of the command.
        options: Its options by name.
        others: Options of other commands that the file may set too. They are checked and then ignored.

    Returns:
        The command's values by name, and the Beam section.

    Raises:
        InputError: The file is missing or is not YAML. Or it sets an option that the command does not have, or gives it
            a kind of value that it does not take.
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
    # Impossible dates and endless nesting raise errors that are not YAML's own.
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
    known = {**others, **options}
    by_key = {name.rstrip("_"): name for name in known}
    result = {}
    if ENGINE_SECTION in known and isinstance(values.get(ENGINE_SECTION), dict):
        result, values = _engine_section(path, values)
    for key, value in values.items():
        key_name = str(key).replace("-", "_")
        name = by_key.get(key_name, key_name)
        if name not in known:
            close = difflib.get_close_matches(name, by_key, n=1)
            raise InputError(
                f"The configuration {path} sets an option that `iadsr {command}` does not have",
                code="CONFIG-OPTION",
                found=str(key),
                expected="one of " + ", ".join(sorted(by_key)),
                fix=f"did you mean {close[0]}?" if close else f"flags of Beam belong under {BEAM_SECTION}:",
            )
        checked = _check_value(path, str(key), value, known[name])
        if name in options:
            result[name] = checked
    return result, beam


def _engine_section(path: Path, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes the settings out of the mapping `engine:`, and leaves the address in its place.

    Returns:
        The settings as the option takes them, and the other values of the file.
    """
    section = {str(name): value for name, value in values[ENGINE_SECTION].items()}
    address = section.pop("address", None)
    settings = []
    for name, value in section.items():
        if value is None:
            continue
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, (dict, list)) for part in parts) or "engine_options" in values:
            raise InputError(
                f"The section {ENGINE_SECTION!r} of {path} has a setting of the wrong kind",
                code="CONFIG-ENGINE",
                found=f"{name}: {str(value)[:100]}",
                expected="address: ADDRESS and lines of name: value, and no engine_options: beside them",
                fix="write one text, number or list as the value, such as spark.executor.memory: 4g",
            )
        words = [str(part).lower() if isinstance(part, bool) else str(part) for part in parts]
        settings.append(f"{name}={','.join(words)}")
    others = {name: value for name, value in values.items() if name != ENGINE_SECTION}
    if address is not None:
        others[ENGINE_SECTION] = address
    return ({"engine_options": tuple(settings)} if settings else {}), others


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        return load_plain_yaml(file.read(MAX_BYTES + 1))


def _check_value(path: Path, key: str, value: Any, option: Option) -> Any:
    """Returns the value as the command line would give it. A list of names becomes names between commas."""
    takes_list = any(get_origin(kind) is tuple for kind in option.kinds)
    if isinstance(value, list) and takes_list:
        return ",".join(map(str, value))
    is_flag = bool in option.kinds
    if value is not None and (isinstance(value, (list, dict)) or isinstance(value, bool) != is_flag):
        raise InputError(
            f"The configuration {path} gives {key} a value of the wrong kind",
            code="CONFIG-VALUE",
            found=f"{str(value)[:100]} ({type(value).__name__})",
            expected="true or false" if is_flag else "a list of texts" if takes_list else "one number or text",
            fix="put quotes around text that YAML would read as something else",
        )
    return value
