"""Files through Beam's own file systems, for every scheme that pyarrow does not know."""

from contextlib import suppress
from typing import BinaryIO

import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from .store import FileInfo, Store, literal
from .temporary import temporary_name


class BeamStore(Store):
    """The file systems that Beam knows, or that a plugin has taught it."""

    def below(self, folder: str) -> list[FileInfo]:
        """Lists a folder."""
        root = folder.rstrip("/")
        try:
            found = self.matching(f"{literal(root)}/**")
        except (OSError, BeamIOError):
            # Some file systems fail if there is no such directory. Other failures must not look like that: a finished
            # run would pass for an empty directory.
            if _is_known_to_be_missing(root):
                return []
            raise
        return [file for file in found if file.path.startswith(f"{root}/")]

    def matching(self, pattern: str) -> list[FileInfo]:
        """Lists what matches a glob."""
        return [_info(match) for match in FileSystems.match([pattern])[0].metadata_list]

    def find(self, path: str) -> FileInfo | None:
        """Asks for one file."""
        found = next((file for file in self.matching(literal(path)) if file.path == path), None)
        return None if found is None or self._is_directory(path) else found

    def exists(self, path: str) -> bool:
        """Asks whether a file is there."""
        return FileSystems.exists(path)

    def open(self, path: str) -> BinaryIO:
        """Opens a file."""
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)

    def read_footer(self, path: str, size: int) -> pq.FileMetaData:
        """Reads a footer."""
        with self.open(path) as file:
            return pq.read_metadata(file)

    def write(self, path: str, content: memoryview) -> None:
        """Writes a file: in one upload where it then appears, else under a temporary name."""
        if not FileSystems.get_filesystem(path).has_dirs():
            _upload(path, content)
            return
        directory, name = FileSystems.split(path)
        temporary = FileSystems.join(directory, temporary_name(name))
        try:
            with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
            _replace(temporary, path)
        except BaseException:
            with suppress(Exception):  # the user must see the first failure
                self.delete(temporary)
            raise

    def delete(self, path: str) -> None:
        """Deletes a file or a folder. Object stores have no folders: the files below a name are deleted one by one."""
        inside = [file.path for file in self.below(path)]
        if inside or FileSystems.exists(path):
            FileSystems.delete(inside or [path])

    def _is_directory(self, path: str) -> bool:
        if not FileSystems.get_filesystem(path).has_dirs():
            return path.endswith("/")  # some stores have objects that stand for folders
        try:
            with self.open(path):
                return False
        except (OSError, BeamIOError):
            return True


def _info(match: FileMetadata) -> FileInfo:
    return FileInfo(match.path, match.size_in_bytes, match.last_updated_in_seconds or 0.0)


def _replace(temporary: str, path: str) -> None:
    try:
        FileSystems.rename([temporary], [path])
    except BeamIOError:
        with suppress(OSError, BeamIOError):  # the user must see the first failure
            if FileSystems.exists(temporary) and FileSystems.exists(path):
                # HDFS does not rename onto an existing file.
                FileSystems.delete([path])
                FileSystems.rename([temporary], [path])
                return
        raise


def _upload(path: str, content: memoryview) -> None:
    try:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(content)
    except BaseException:
        # Leaving the block closed the upload, which may have published the part that was sent.
        with suppress(Exception):  # the user must see the first failure
            if _holds_only_the_beginning_of(path, bytes(content)):
                FileSystems.delete([path])
        raise


def _holds_only_the_beginning_of(path: str, content: bytes) -> bool:
    """Tells what a failed upload left from a complete older file of the same name, which must stay."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        found = file.read(len(content))
    return len(found) < len(content) and content.startswith(found)


def _is_known_to_be_missing(path: str) -> bool:
    try:
        # An object store says that no directory exists, even if there are files below it.
        return FileSystems.get_filesystem(path).has_dirs() and not FileSystems.exists(path)
    except (OSError, BeamIOError, ValueError):
        return False
