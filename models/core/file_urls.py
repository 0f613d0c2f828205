"""Turns file:// URLs into paths of this machine."""

import os
import re
from urllib.parse import unquote

from .errors import UsageError


def to_path(path: str) -> str:
    """Returns the path that a `file:` URL stands for, and every other path as it is.

    `file:///log`, `file://localhost/log` and Hadoop's `file:/log` are the same. `%20` stands for a space, as in all
    URLs, unless there is a file whose name holds these very characters.

    Raises:
        UsageError: The URL names another machine, or is no absolute path.
    """
    if not path.startswith("file:"):
        return path
    match = re.fullmatch(r"file:(?://(?:localhost)?)?(/.*)", path, re.DOTALL)
    if match is None or match[1].startswith("//"):
        raise UsageError(
            f"{path} is no file of this machine",
            code="OPTION-FILE-URL",
            found="a file: URL with the name of a machine, or without an absolute path",
            expected="such as file:///data/log",
            fix="write the path without file:, or copy the files to this machine",
        )
    return match[1] if os.path.exists(match[1]) else unquote(match[1])
