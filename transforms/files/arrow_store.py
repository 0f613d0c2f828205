"""Files through pyarrow: S3, Google Cloud Storage, Azure and HDFS.

No boto3 or other client of a cloud is needed. An upload of up to 10 MB is one request, and a file appears when its
upload has ended, so nothing has to be renamed.
"""

import ctypes
import re
from contextlib import suppress
from typing import BinaryIO, Literal

import pyarrow.fs as pafs
import pyarrow.parquet as pq
from apache_beam.io.filesystem import FileSystem

from .store import FileInfo, Store
from .temporary import temporary_name

Shows = Literal["upload", "move", "copy"]


class ArrowStore(Store):
    """One bucket or container, or one HDFS.

    Args:
        file_system: The client.
        root: What its URLs begin with, such as `s3://bucket`.
        container: What stands for it in the client's own paths, such as `bucket`; empty for HDFS.
        shows: What makes a file show whole: the end of its upload, or a move or a copy of one with another name, where
            a file shows while it is written.
    """

    def __init__(self, file_system: pafs.FileSystem, root: str, container: str, shows: Shows = "upload"):
        self._files, self._root, self._container, self._shows = file_system, root, container, shows

    def below(self, folder: str) -> list[FileInfo]:
        """Lists a folder, in one request for each thousand files."""
        found = self._list(folder, recursive=True)
        if not found and self._container and self._info(self._container) is None:
            raise FileNotFoundError(f"Bucket '{self._container}' not found")
        return found

    def matching(self, pattern: str) -> list[FileInfo]:
        """Lists what matches a glob. Folders that cannot lead to a match are not listed."""
        folder = re.split(r"[*?[]", pattern)[0].rpartition("/")[0]
        matches = re.compile(FileSystem.translate_pattern(pattern)).match
        if "**" in pattern:
            return [file for file in self._list(folder, recursive=True) if matches(file.path)]
        pending, found = [folder], []
        while pending:
            for file in self._list(pending.pop(), recursive=False):
                if not file.path.endswith("/"):
                    found += [file] if matches(file.path) else []
                    continue
                path = file.path.rstrip("/")
                start = "/".join(pattern.split("/")[: path.count("/") + 1])
                if start != pattern and re.match(FileSystem.translate_pattern(start), path):
                    pending.append(path)
        return sorted(found, key=lambda file: file.path)

    def find(self, path: str) -> FileInfo | None:
        """Asks for one file."""
        info = self._info(self._inside(path))
        return None if info is None or not info.is_file else self._describe(info)

    def exists(self, path: str) -> bool:
        """Asks whether a file is there."""
        return self.find(path) is not None

    def open(self, path: str) -> BinaryIO:
        """Opens a file."""
        return self._files.open_input_file(self._inside(path))

    def read_footer(self, path: str, size: int) -> pq.FileMetaData:
        """Reads a footer, in one request. `open` would ask for the size first."""
        from pyarrow.dataset import ParquetFileFormat

        format = ParquetFileFormat()
        return format.make_fragment(self._inside(path), filesystem=self._files, file_size=size).metadata

    def write(self, path: str, content: memoryview) -> None:
        """Uploads a file."""
        inside = self._inside(path)
        if self._shows == "upload":
            self._upload(inside, content)
            return
        folder, _, name = inside.rpartition("/")
        temporary = f"{folder}/{temporary_name(name)}"
        try:
            if self._shows == "copy":
                self._upload(temporary, content)
                self._files.copy_file(temporary, inside)
            else:
                self._files.create_dir(folder)
                self._upload(temporary, content)
                self._remove(inside)  # HDFS does not rename onto an existing file
                self._files.move(temporary, inside)
        finally:
            with suppress(OSError):  # the user must see the first failure
                self._remove(temporary)

    def delete(self, path: str) -> None:
        """Deletes a file, or else a folder."""
        inside = self._inside(path)
        if self._remove(inside) or not self._list(path, recursive=True):
            return
        try:
            self._files.delete_dir(inside)
        except OSError:
            # Some stores fail over the names of folders, which are no objects.
            if any(not file.path.endswith("/") for file in self._list(path, recursive=True)):
                raise

    def _upload(self, inside: str, content: memoryview) -> None:
        # Not in a `with` block, which would publish what was sent before a failure.
        stream = self._files.open_output_stream(inside, compression=None)
        try:
            stream.write(content)
            stream.close()
        except BaseException:
            # Its end would try the upload once more, and publish what the caller takes for failed: it never ends.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
            raise

    def _remove(self, inside: str) -> bool:
        try:
            self._files.delete_file(inside)
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def _info(self, inside: str) -> pafs.FileInfo | None:
        info = self._files.get_file_info(inside)
        return None if info.type == pafs.FileType.NotFound else info

    def _list(self, folder: str, *, recursive: bool) -> list[FileInfo]:
        selector = pafs.FileSelector(self._inside(folder), allow_not_found=True, recursive=recursive)
        try:
            found = self._files.get_file_info(selector)
        except NotADirectoryError:  # HDFS, of a file
            return []
        return sorted(map(self._describe, found), key=lambda file: file.path)

    def _inside(self, path: str) -> str:
        return f"{self._container}/{path.removeprefix(self._root).removeprefix('/')}".rstrip("/") or "/"

    def _describe(self, info: pafs.FileInfo) -> FileInfo:
        path = f"{self._root}/{info.path.removeprefix(self._container).removeprefix('/')}"
        if not info.is_file:
            return FileInfo(f"{path}/", 0)
        return FileInfo(path, info.size, (info.mtime_ns or 0) / 1e9)
