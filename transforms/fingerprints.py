"""Whether a file is still the one that it was."""

import dataclasses
import hashlib
import os

from apache_beam.io.filesystems import FileSystems

from .files import FileInfo, WrittenFile, asking, exists, is_local, literal, open_binary, open_parquet, reading


def describe_file(path: str) -> WrittenFile:
    """Returns what `write_table` returned for a Parquet file when it was written.

    Raises:
        InputError: It cannot be read.
    """
    with open_parquet(path) as parquet:
        rows = parquet.metadata.num_rows
    size, digest = 0, hashlib.sha256()
    with reading(path), open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return WrittenFile(path, rows, size, digest.hexdigest())


def is_unchanged(info: FileInfo) -> bool:
    """Whether a file is there, with the size and time of change that it had when it was listed.

    Raises:
        InputError: The file system does not say.
    """
    with asking(info.path):
        if is_local(info.path):
            if not exists(info.path):
                return False
            now = os.stat(info.path)
            return (now.st_size, now.st_mtime) == (info.size, info.updated)
        now = FileSystems.match([literal(info.path)])[0].metadata_list
    return any((m.path, m.size_in_bytes, m.last_updated_in_seconds or 0.0) == dataclasses.astuple(info) for m in now)
