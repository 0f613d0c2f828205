"""Which flags Beam knows, without importing it: that takes a second, and a misspelled flag should be told at once."""

import difflib
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from ...models.core.errors import UsageError


def known_flags() -> set[str]:
    """Returns Beam's flags such as `--runner`, as they stand in the one file that declares them."""
    beam = importlib.util.find_spec("apache_beam")
    if beam is None or not beam.submodule_search_locations:
        return set()
    source = Path(beam.submodule_search_locations[0], "options", "pipeline_options.py")
    return set(re.findall(r"""["'](--[\w-]+)["']""", source.read_text(encoding="utf-8")))


def refuse_unknown(flags: Iterable[str], own: Iterable[str]) -> None:
    """Refuses a flag that Beam's options do not have.

    Args:
        flags: What is neither an option of the command nor its value.
        own: The command's options, to suggest to those who misspell one.

    Raises:
        UsageError: There is such a flag.
    """
    given = [flag.split("=")[0] for flag in flags if flag.startswith("-") and not _is_number(flag)]
    known = known_flags() if given else set()
    for flag in given:
        # Beam passes over what has one dash, and over the value after it.
        if not flag.startswith("--") or (known and flag not in known):
            raise no_such_option(flag, own, known)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def no_such_option(flag: str, own: Iterable[str], known: Iterable[str]) -> UsageError:
    """The error for a flag that nobody knows, with the closest that somebody does."""
    name = flag.lstrip("-")
    # The two dashes alone make one letter close to anything short.
    close = difflib.get_close_matches(f"--{name}", [*own, *known], n=1) if len(name) > 2 else []
    return UsageError(
        f"No such option: {flag}",
        code="OPTION-UNKNOWN",
        expected="an option of this command (see --help) or one of Beam's",
        fix=f"did you mean {close[0]}?" if close else "check the spelling",
    )
