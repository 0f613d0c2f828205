import gzip
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.files import found_files
from iadsr.transforms.files.found_files import FoundFiles, find_files
from iadsr.transforms.files.tables import open_parquet


def parquet(rows=3) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": range(rows)}), sink)
    return sink.getvalue().to_pybytes()


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def names(found: FoundFiles, root) -> list[str]:
    return [file.path.removeprefix(f"{root}/") for file in found.files]


def left_out(found: FoundFiles, root) -> dict[str, str]:
    return {file.path.removeprefix(f"{root}/"): file.reason.rpartition(": ")[2] for file in found.left_out}


PARQUET = ["000000_0", "a.parquet", "b.snappy", "c.PARQUET", "d.parq", "day=1/e.pq", "f.parquet.gz"]


def test_a_file_is_parquet_by_its_first_bytes_and_everything_else_is_named(tmp_path, store):
    content = dict.fromkeys(PARQUET, parquet()) | {"f.parquet.gz": gzip.compress(parquet())}
    content |= {
        "log.csv": b"user,item\n1,2\n",
        "log.csv.gz": gzip.compress(b"user,item\n1,2\n"),
        "part.orc": b"ORC\0",
        "x.avro": b"Obj\x01",
        "x.bin": b"\xff\xfe\0",
        "x.zip": b"PK\x03\x04",
        "packed": gzip.compress(parquet()),
        "empty": b"",
        "g.csv": b"\x1f\x8bbroken",
        "_part.parquet": parquet(),
    }
    quiet = [
        "_SUCCESS",
        "_metadata",
        "_common_metadata",
        ".a.parquet.crc",
        "a.parquet.crc",
        "._a.parquet",
        "x_$folder$",
    ]
    content |= dict.fromkeys([*quiet, ".tmp-1-a.parquet", ".git/a.parquet"], b"")
    for name, data in content.items():
        put(tmp_path / name, data)
        store.files[f"memory://b/{name}"] = data
    for root in (str(tmp_path), "memory://b"):
        found = find_files(root)
        assert names(found, root) == sorted(PARQUET)
        assert left_out(found, root) == {
            "log.csv": "text",
            "log.csv.gz": "compressed with gzip",
            "g.csv": "compressed with gzip",
            "part.orc": "ORC",
            "x.avro": "Avro",
            "x.bin": "unknown",
            "x.zip": "a ZIP archive",
            "packed": "Parquet inside of gzip; its name must end in .gz",
            "empty": "empty",
            "_part.parquet": "its name begins with '_'",
        }
        for file in found.files:
            with open_parquet(file.path) as opened:
                assert opened.read()["x"].to_pylist() == [0, 1, 2]


def test_a_file_that_is_called_parquet_is_not_opened_to_find_out(tmp_path, monkeypatch):
    put(tmp_path / "a.parquet", b"broken")  # an error for who reads it
    put(tmp_path / "b", parquet())
    opened, original = [], found_files.open_binary
    monkeypatch.setattr(found_files, "open_binary", lambda path: (opened.append(path), original(path))[1])
    assert names(find_files(str(tmp_path)), tmp_path) == ["a.parquet", "b"]
    assert opened == [str(tmp_path / "b")]


def test_an_encrypted_file_is_one_to_read_so_that_its_reader_refuses_it(tmp_path):
    put(tmp_path / "000000_0", b"PARE" + b"\0" * 20 + b"PARE")
    (file,) = find_files(str(tmp_path)).files
    with pytest.raises(InputError, match="encrypted") as error, open_parquet(file.path):
        pass
    assert error.value.code == "FILE-ENCRYPTED"


def test_a_folder_without_parquet_says_what_is_in_it(tmp_path):
    for name in ("a.csv", "b.csv", "c.json", "d.json"):
        put(tmp_path / name, b"text")
    for path in (tmp_path, tmp_path / "*"):
        with pytest.raises(InputError, match="No Parquet file") as error:
            find_files(str(path))
        assert error.value.code == "FILE-FORMAT"
        assert error.value.found == ("4 files: a.csv (text), b.csv (text), c.json (text), and 1 more")
    put(tmp_path / "empty" / "_SUCCESS")
    with pytest.raises(InputError, match="No Parquet file") as error:
        find_files(str(tmp_path / "empty"))
    assert error.value.found == "nothing but hidden files"


def test_a_file_named_by_its_path_is_left_to_its_reader(tmp_path):
    path = put(tmp_path / "user=7" / "log.csv", b"text")
    (file,) = find_files(path).files
    assert (file.path, file.partitions) == (path, (("user", "7"),))


def test_columns_in_the_names_of_folders_go_with_each_file(tmp_path):
    for name in ("day=1/b.parquet", "day=__HIVE_DEFAULT_PARTITION__/_n=x/c.parquet", "a.parquet"):
        put(tmp_path / name)
    for path in (str(tmp_path), f"{tmp_path}/**"):
        found = find_files(path)
        assert [file.partitions for file in found.files] == [(), (("day", "1"),), (("day", None), ("_n", "x"))]
        assert found.partitions == pa.schema([("day", pa.int64()), ("_n", pa.string())])


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (["_temporary/0/x"], True),
        (["_temporary/0/x", "_SUCCESS"], False),
        (["_started_7"], True),
        (["_started_7", "_committed_7"], False),
        (["_SUCCESS"], False),
    ],
)
def test_a_job_that_has_not_finished_is_told(tmp_path, store, marks, told):
    for name in ("out/a.parquet", *(f"out/{mark}" for mark in marks)):
        put(tmp_path / name)
        store.files[f"memory://b/{name}"] = b""
    for root in (str(tmp_path), "memory://b"):
        notes = find_files(root).notes
        assert len(notes) == told
        assert all(f"{root}/out holds {marks[0].split('/')[0]} and no _SUCCESS" in note for note in notes)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "a.parquet")
    assert left_out(find_files(str(tmp_path)), tmp_path) == {"pipe": "no regular file"}
