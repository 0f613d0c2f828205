"""The names of files that are not finished."""

import uuid

TEMPORARY_PREFIX = ".tmp-"
"""Begins the name of a file that is still being written."""


def temporary_name(name: str) -> str:
    """Returns a name for a file until it is complete."""
    # It ends in another way too: some readers of a folder go by the ends of names alone.
    return f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{name}.tmp"


def is_temporary(name: str) -> bool:
    """Returns whether a file of this name was left unfinished."""
    return name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
