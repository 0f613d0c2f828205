"""The flags that Beam knows. They are read without importing it, which takes a second: usage errors appear at once."""

import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...models.core.errors import UsageError


def known_flags() -> set[str]:
    """Returns Beam's flags such as `--runner`, from the source file that declares them all."""
    beam = importlib.util.find_spec("apache_beam")
    if beam is None or not beam.submodule_search_locations:
        return set()
    source = Path(beam.submodule_search_locations[0], "options", "pipeline_options.py")
    return set(re.findall(r"""["'](--[\w-]+)["']""", source.read_text(encoding="utf-8")))


def flags_from_config(section: Mapping[str, Any]) -> list[str]:
    """Turns the `beam:` mapping of a configuration file into flags.

    A list repeats the flag, and true stands for the flag alone. false becomes the flag of Beam that turns the option
    off, such as `--no_use_public_ips`. If Beam has no such flag, the option is off by default: false becomes nothing.
    """
    flags = []
    for name, value in section.items():
        if value is None:
            continue
        if value is False:
            off = f"--no_{name}"
            flags += [off] if off in known_flags() else []
            continue
        for each in value if isinstance(value, list) else [value]:
            flags.append(f"--{name}" if each is True else f"--{name}={each}")
    return flags


def refuse_unknown(flags: Iterable[str], own: Iterable[str]) -> None:
    """Refuses a flag that Beam's options do not have.

    Args:
        flags: Arguments that are neither an option of the command nor its value.
        own: The options of the command, to suggest if one is misspelt.

    Raises:
        UsageError: Beam has no such flag.
    """
    given = [flag.split("=")[0] for flag in flags if flag.startswith("-") and not _is_number(flag)]
    known = known_flags() if given else set()
    for flag in given:
        # Beam ignores a flag with one dash, and the value after it.
        if not flag.startswith("--") or (known and flag not in known):
            raise no_such_option(flag, own, known)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def no_such_option(flag: str, own: Iterable[str], known: Iterable[str]) -> UsageError:
    """Makes the error for an unknown flag. It suggests the closest flag that is known."""
    name = flag.lstrip("-")
    # Because of the two dashes, a single letter would be close to anything short.
    close = difflib.get_close_matches(f"--{name}", [*own, *known], n=1) if len(name) > 2 else []
    return UsageError(
        f"No such option: {flag}",
        code="OPTION-UNKNOWN",
        expected="an option of this command (see --help) or one of Beam's",
        fix=f"did you mean {close[0]}?" if close else "check the spelling",
    )
