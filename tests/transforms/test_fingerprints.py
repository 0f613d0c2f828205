import os

import pyarrow as pa
import pytest
from apache_beam.io.filesystem import BeamIOError

from iadsr.models.errors import InputError
from iadsr.transforms.files import FileInfo, match_files, write_table
from iadsr.transforms.fingerprints import describe_file, is_unchanged


def test_a_file_is_described_as_when_it_was_written(tmp_path):
    written = write_table(str(tmp_path / "f"), pa.table({"a": range(5)}))
    assert written.rows == 5
    assert describe_file(written.path) == written


def test_a_local_file_is_unchanged_while_size_and_time_are(tmp_path):
    path = tmp_path / "f.parquet"
    path.write_bytes(b"123")
    (info,) = match_files(str(path))
    assert is_unchanged(info)
    os.utime(path, (1, 1))
    assert not is_unchanged(info)
    path.unlink()
    assert not is_unchanged(info)


def test_a_remote_file_that_cannot_be_asked_for_is_neither_changed_nor_unchanged(store, monkeypatch):
    store.files["memory://b/f"] = b"123"
    assert is_unchanged(FileInfo("memory://b/f", 3))
    assert not is_unchanged(FileInfo("memory://b/f", 4))
    assert not is_unchanged(FileInfo("memory://b/g", 3))

    def refuse(self, path):
        raise BeamIOError("request failed", {path: ConnectionResetError("reset by peer")})

    monkeypatch.setattr(store, "exists", refuse)
    with pytest.raises(InputError) as error:
        is_unchanged(FileInfo("memory://b/f", 3))
    assert error.value.code == "FILE-ASK"
