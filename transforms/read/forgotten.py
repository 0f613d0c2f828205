"""Users who are to be forgotten: their rows are left out wherever a log is read."""

import contextlib
import functools
import re
import uuid

import pyarrow as pa

from ...models.core.errors import InputError
from ..files.listing import list_files
from ..files.storage import read_bytes
from ..files.store import FileInfo


def forgotten_files(path: str | None) -> tuple[FileInfo, ...]:
    """Returns the files that list the users to be forgotten; none if there is no path.

    Raises:
        InputError: There is no such file, or the file system does not answer.
    """
    return () if path is None else tuple(list_files(path, "a text file with one user id per line").files)


def forgotten_users(path: str) -> pa.Array:
    """Returns the ids of the users to be forgotten, large_string [n], in all forms that they may have in a log.

    An id counts as it is written, without space and quotes around it, and as a UUID in its usual text. If it is a whole
    number, it counts as this number too, if no letter of it is lost: 7.0 and +7 are 7, and 007 is a text of its own.

    Args:
        path: A text file with one id per line, or a directory or a glob of such files.

    Raises:
        InputError: A file cannot be read, or is not text.
    """
    return _read(forgotten_files(path))


@functools.lru_cache(maxsize=2)
def _read(files: tuple[FileInfo, ...]) -> pa.Array:
    """Reads the files; again only if they have changed."""
    ids: set[str] = set()
    for file in files:
        content = read_bytes(file.path)
        try:
            text = content.decode("utf-8-sig")
            if "\0" in text:
                raise ValueError("a NUL character")
        except ValueError as error:
            raise InputError(
                f"The list of users to be forgotten {file.path} is not text",
                code="FORGET-TEXT",
                found="a NUL character" if "NUL" in str(error) else "bytes that are not UTF-8",
                expected="a text file in UTF-8 with one user id per line",
                fix="write the list as text, or name the right file",
            ) from error
        for line in text.split("\n"):
            ids.update(_forms(line.removesuffix("\r")))
    return pa.array(sorted(ids - {""}), pa.large_string())


_QUOTED = re.compile(r"""(["'])(.*)\1""")
_WHOLE = re.compile(r"\+?(-?(?:0|[1-9]\d*))(?:\.0*)?")


def _forms(line: str) -> set[str]:
    """Returns the forms that an id may have in a log: programs that write lists add space, quotes and fractions."""
    plain = line.strip()
    if quoted := _QUOTED.fullmatch(plain):
        plain = quoted[2]
    forms = {line, line.strip(), plain}
    if number := _WHOLE.fullmatch(plain):
        forms.add(number[1])
    with contextlib.suppress(ValueError):
        forms.add(str(uuid.UUID(plain)))
    return forms
