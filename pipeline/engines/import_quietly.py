"""Keeps Beam quiet about a library that is missing on purpose, while Beam is imported into somebody's own program."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_apitools_warning() -> Iterator[None]:
    """Leaves out Beam's warning that apitools is missing, and leaves the program's logging as it was.

    Only Beam's sources and sinks for Google Cloud need apitools.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addFilter(_is_other)
    # A warning to a logger without a handler would install one that prints all later warnings as well.
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(_is_other)


def _is_other(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")
