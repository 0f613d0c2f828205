import os

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.files.arrow_store import ArrowStore


@pytest.fixture(params=["upload", "move"])
def store(tmp_path, request) -> ArrowStore:
    """A bucket that is a folder of this machine; once as an object store, once as HDFS, which renames."""
    (tmp_path / "bucket").mkdir()
    files = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    return ArrowStore(files, "box://bucket", "bucket", request.param)


def put(store: ArrowStore, tmp_path, *names: str) -> None:
    for name in names:
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"123")


def paths(files) -> list[str]:
    return [file.path.removeprefix("box://bucket/") for file in files]


def test_a_folder_is_listed_at_any_depth_with_sizes_times_and_folders(store, tmp_path):
    put(store, tmp_path, "log/b", "log/day=1/a", "other/c")
    assert paths(store.below("box://bucket/log")) == ["log/b", "log/day=1/", "log/day=1/a"]
    found = store.below("box://bucket/log/day=1/")[0]
    assert (found.size, found.updated) == (3, pytest.approx(os.stat(tmp_path / "bucket/log/day=1/a").st_mtime))
    assert store.below("box://bucket/missing") == []
    assert paths(store.below("box://bucket"))[0] == "log/"


def test_a_missing_bucket_is_not_an_empty_folder(tmp_path):
    store = ArrowStore(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "box://gone", "gone")
    with pytest.raises(FileNotFoundError, match="Bucket 'gone' not found"):
        store.below("box://gone/log")


def test_a_glob_lists_only_folders_that_can_lead_to_a_match(store, tmp_path, monkeypatch):
    put(store, tmp_path, "log/day=1/a.parquet", "log/day=1/x/b.parquet", "log/day=2/c.parquet", "log/old/d.parquet")
    listed = []
    original = store._list
    monkeypatch.setattr(store, "_list", lambda folder, **more: listed.append(folder) or original(folder, **more))
    assert paths(store.matching("box://bucket/log/day=*/*.parquet")) == ["log/day=1/a.parquet", "log/day=2/c.parquet"]
    assert sorted(listed) == [f"box://bucket/{name}" for name in ("log", "log/day=1", "log/day=2")]
    assert len(store.matching("box://bucket/log/**")) == 8  # with four folders
    assert paths(store.matching("box://bucket/log/day=[2]/c*")) == ["log/day=2/c.parquet"]
    assert store.matching("box://bucket/missing/*") == []


def test_one_file_is_found_and_a_folder_is_no_file(store, tmp_path):
    put(store, tmp_path, "log/a")
    found = store.find("box://bucket/log/a")
    assert found is not None
    assert (found.path, found.size) == ("box://bucket/log/a", 3)
    assert store.find("box://bucket/log") is None
    assert store.exists("box://bucket/log/a")
    assert not store.exists("box://bucket/log/b")


SHOWS = pytest.mark.parametrize("shows", ["move", "copy"])


@SHOWS
def test_a_file_is_written_read_by_range_and_replaced(tmp_path, shows):
    (tmp_path / "b" / "d").mkdir(parents=True)
    store = ArrowStore(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "box://b", "b", shows)
    for content in (b"first", b"second"):
        store.write("box://b/d/f", memoryview(content))
    with store.open("box://b/d/f") as file:
        file.seek(2)
        assert file.read(3) == b"con"
    assert os.listdir(tmp_path / "b" / "d") == ["f"]


@SHOWS
def test_a_write_that_fails_leaves_the_older_file_and_no_temporary_one(tmp_path, monkeypatch, shows):
    (tmp_path / "b").mkdir()
    store = ArrowStore(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "box://b", "b", shows)
    store.write("box://b/f", memoryview(b"old"))
    upload = store._upload

    def fail(inside, content):
        upload(inside, content[:1])
        raise OSError("reset by peer")

    monkeypatch.setattr(store, "_upload", fail)
    with pytest.raises(OSError, match="reset by peer"):
        store.write("box://b/f", memoryview(b"new"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == {"f": b"old"}


def test_files_and_folders_are_deleted_and_what_is_not_there_is_ignored(store, tmp_path):
    put(store, tmp_path, "a", "d/b", "d/e/c", "kept")
    for path in ("a", "d", "missing"):
        store.delete(f"box://bucket/{path}")
    assert paths(store.below("box://bucket")) == ["kept"]


def test_a_store_that_fails_over_folders_has_deleted_if_no_file_is_left(store, tmp_path, monkeypatch):
    put(store, tmp_path, "d/b", "e/c")

    class Fails:
        def __init__(self, files, *, deletes):
            self.files, self.deletes = files, deletes

        def __getattr__(self, name):
            return getattr(self.files, name)

        def delete_dir(self, path):
            if self.deletes:
                self.files.delete_dir(path)
            raise OSError("2 errors")

    files = store._files
    store._files = Fails(files, deletes=True)
    store.delete("box://bucket/d")
    store._files = Fails(files, deletes=False)
    with pytest.raises(OSError, match="2 errors"):
        store.delete("box://bucket/e")


def test_a_footer_is_that_of_the_file(store, tmp_path):
    path = tmp_path / "bucket" / "f.parquet"
    pq.write_table(pa.table({"a": range(7)}), path)
    assert store.read_footer("box://bucket/f.parquet", path.stat().st_size).num_rows == 7
