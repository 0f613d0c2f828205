"""What iadsr needs of a file system that is not this machine's own: a cloud's object store, or HDFS."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow.parquet as pq

REQUESTS = 16
"""Requests that are sent to a store at the same time."""


BLOCK_BYTES = 8 << 20
"""Bytes of a file that are read at once where it is read from its beginning to its end: each time is a request."""


@dataclass(frozen=True)
class FileInfo:
    """One file that was listed."""

    path: str
    """Path or URL, spelled as the file system does."""
    size: int
    """Bytes."""
    updated: float = 0.0
    """Time of the last change in seconds since 1970, or 0 if the file system does not say."""
    partitions: tuple[tuple[str, str | None], ...] = ()
    """Values of all its rows that do not stand in the file but in the names of its folders, or in the log of its table:
    column and text, None for null."""


class Store(ABC):
    """A file system that is reached by URLs. What fails raises the client's own errors: `storage` translates them."""

    @abstractmethod
    def below(self, folder: str) -> list[FileInfo]:
        """Returns all files below a folder at any depth; an empty list if there is no such folder.

        The paths of folders may be among them. They end in a slash.
        """

    @abstractmethod
    def matching(self, pattern: str) -> list[FileInfo]:
        """Returns the files that match a glob, in which `*` stops at a slash and `**` does not."""

    @abstractmethod
    def find(self, path: str) -> FileInfo | None:
        """Returns what is known of one file; None if it is not there."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Returns whether there is a file of this name."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Opens a file for reading. Parts of it are read by range. Nothing is decompressed."""

    @abstractmethod
    def read_footer(self, path: str, size: int) -> pq.FileMetaData:
        """Reads the footer of a Parquet file of a known size."""

    @abstractmethod
    def write(self, path: str, content: memoryview) -> None:
        """Writes a file that appears as a whole or not at all. It replaces an older one."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Deletes a file, or all files of a folder. What is not there is ignored."""


def literal(path: str) -> str:
    """Returns a glob for a path that may hold the characters of a glob. It may match more: the caller must filter."""
    return re.sub(r"[*?[\]]", "?", path)
