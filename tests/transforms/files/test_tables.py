import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.files import tables as table_files
from iadsr.transforms.files.listing import list_files
from iadsr.transforms.files.tables import describe_file, open_parquet, write_table


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\0" * 20 + b"PAR1"])
def test_what_is_not_parquet_is_named(tmp_path, content):
    path = tmp_path / "bad.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"Cannot read .*bad\.parquet"), open_parquet(str(path)):
        pass


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "log.parquet")
    for path in (tmp_path, tmp_path / "log.parquet"):
        (info,) = list_files(str(path)).files
        with pytest.raises(InputError, match="a pipe or a device"), open_parquet(info.path):
            pass


def test_a_truncated_file_is_named(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"a": range(1000)}), whole)
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut\.parquet"), open_parquet(str(tmp_path / "cut.parquet")):
        pass


def test_a_remote_file_is_closed_after_its_block_and_when_it_is_no_parquet(store, monkeypatch):
    opened, original = [], table_files.open_binary
    monkeypatch.setattr(table_files, "open_binary", lambda path: opened.append(original(path)) or opened[-1])
    write_table("memory://b/good", pa.table({"a": range(3)}))
    with open_parquet("memory://b/good") as parquet:
        assert not opened[0].closed
        assert parquet.read()["a"].to_pylist() == [0, 1, 2]
    store.files["memory://b/bad"] = b"not parquet at all"
    with pytest.raises(InputError, match="Cannot read memory://b/bad"), open_parquet("memory://b/bad"):
        pass
    assert [file.closed for file in opened] == [True, True]


def test_equal_tables_give_equal_bytes(tmp_path):
    table = pa.table({"a": ["x", None] * 100, "b": range(200)})
    for name in ("1", "2"):
        write_table(str(tmp_path / name), table)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_file_is_described_as_when_it_was_written(tmp_path):
    written = write_table(str(tmp_path / "f"), pa.table({"a": range(5)}))
    assert written.rows == 5
    assert describe_file(written.path) == written
