"""Copies a remote directory to this machine for as long as it is needed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ...models.core.errors import ArtifactError
from .storage import is_local, join, list_names, open_binary, translating_read_errors


@contextmanager
def local_copy(directory: str) -> Iterator[str]:
    """Gives a directory of this machine with the same files: itself, or a copy that is gone after the block.

    Raises:
        InputError: Beam knows no such file system, or a file cannot be read.
        ArtifactError: A name would lead out of the copy.
    """
    if is_local(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="iadsr-", ignore_cleanup_errors=True) as target:
        for name in list_names(directory):
            _refuse_strange_name(directory, name)
            path = os.path.join(target, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            remote = join(directory, name)
            with translating_read_errors(remote), open_binary(remote) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink)
        yield target


def _refuse_strange_name(directory: str, name: str) -> None:
    """Object stores take any name: here one could stand for a place outside of the directory, or for a directory."""
    if {"", ".", ".."} & set(name.split("/")):
        raise ArtifactError(
            f"{directory} holds a file whose name is no path below it",
            code="ARTIFACT-NAME",
            found=name or "an empty name",
            expected="names without empty parts, '.' and '..'",
            fix="delete the file or rename it, or copy the directory again from where it was made",
        )
