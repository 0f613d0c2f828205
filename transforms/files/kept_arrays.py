"""Arrays that a run keeps for the next one. If the file is missing or damaged, the next run computes them again."""

import io
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...models.core.errors import InputError
from .storage import read_bytes, write_atomically


def write_kept_arrays(path: str, **arrays: Any) -> None:
    """Writes arrays by their names.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(path, lambda file: np.savez(file, **arrays))


def read_kept_arrays(path: str, names: Iterable[str]) -> list[np.ndarray] | None:
    """Reads what `write_kept_arrays` wrote, in the order of the names; None if the file is missing or damaged."""
    try:
        with np.load(io.BytesIO(read_bytes(path))) as file:
            return [file[name] for name in names]
    except (InputError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None
