"""Keeps the logging of somebody's own program as it is while Beam is imported and used in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_apitools_warning() -> Iterator[None]:
    """Leaves out Beam's warning that apitools is missing, and leaves the program's logging as it was.

    Only Beam's sources and sinks for Google Cloud need apitools.
    """
    root = logging.getLogger()
    root.addFilter(_is_other)
    # Where the program has no handler, Beam's options and each warning to the root would install one that stays.
    # This one prints as Python does without any.
    handler = None if root.handlers else logging.lastResort
    if handler is not None:
        root.addHandler(handler)
    try:
        yield
    finally:
        if handler is not None:
            root.removeHandler(handler)
        root.removeFilter(_is_other)


def _is_other(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")
