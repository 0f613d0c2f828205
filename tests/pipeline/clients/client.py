"""What the scripts beside this one share. Each is run by a library's own environment, which has no iadsr.

Usage: python load_LIBRARY.py EXPORT RESULT.json
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

EXPORT, RESULT = (Path(argument).resolve() for argument in sys.argv[1:3])


def run_readme(**replaced: str) -> dict[str, Any]:
    """Runs the code in the README of the export, in its folder, and returns the names that it defines.

    Args:
        replaced: For each name of an argument, what stands in the README for its value, and what to run instead.
    """
    del sys.argv[1:]  # RecBole reads them
    os.chdir(EXPORT)
    sys.path.insert(0, str(EXPORT))
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    for argument, value in replaced.items():
        code, count = re.subn(rf"\b{argument}=[^,)]+", f"{argument}={value}", code)
        assert count == 1, argument
    names: dict[str, Any] = sys.modules["__main__"].__dict__
    exec(code, names)
    return names


def by_user(rows: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for user, value in rows:
        found.setdefault(user, []).append(value)
    return found


def report(found: Mapping[str, Any]) -> None:
    RESULT.write_text(json.dumps(found))
