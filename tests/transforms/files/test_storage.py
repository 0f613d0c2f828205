import io
import os

import pytest
from apache_beam.io.filesystem import BeamIOError

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.transforms.files import storage
from iadsr.transforms.files.listing import list_files
from iadsr.transforms.files.local_copy import local_copy


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_an_empty_path_does_not_stand_for_the_whole_machine():
    for find in (list_files, storage.list_names):
        with pytest.raises(InputError, match="the path is empty"):
            find("")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = touch(tmp_path / "out" / "f", b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(InputError, match="disk full"):
        storage.write_atomically(path, fail)
    assert os.listdir(tmp_path / "out") == ["f"]
    assert storage.read_bytes(path) == b"old"
    storage.write_atomically(path, lambda file: file.write(b"new"))
    assert storage.read_bytes(path) == b"new"


def test_delete_passes_over_what_is_not_there(tmp_path):
    touch(tmp_path / "d" / "e" / "f")
    storage.delete(str(tmp_path / "d"), str(tmp_path / "missing"))
    assert storage.list_names(str(tmp_path)) == []


def test_what_goes_while_it_is_deleted_is_passed_over(tmp_path, monkeypatch):
    touch(tmp_path / "d" / "f")
    remove = os.unlink

    def first_another(path, **options):
        remove(path, **options)
        remove(path, **options)

    monkeypatch.setattr(os, "unlink", first_another)
    storage.delete(str(tmp_path / "d"))
    assert os.listdir(tmp_path) == []


def test_only_a_durable_file_makes_more_than_its_own_folder(tmp_path):
    storage.write_atomically(str(tmp_path / "run" / "f"), lambda file: file.write(b"x"))
    with pytest.raises(InputError, match="No such file") as error:
        storage.write_atomically(str(tmp_path / "gone" / "run" / "f"), lambda file: file.write(b"x"))
    assert error.value.code == "FILE-WRITE"
    assert os.listdir(tmp_path) == ["run"]
    storage.write_atomically(str(tmp_path / "model" / "1" / "f"), lambda file: file.write(b"x"), durable=True)
    assert (tmp_path / "model" / "1" / "f").read_bytes() == b"x"


def test_a_path_with_the_characters_of_a_glob_is_listed_and_deleted_as_it_is(tmp_path):
    odd = tmp_path / "log [2024]"
    touch(odd / "a.parquet")
    others = [touch(tmp_path / name / "f") for name in ("log (2024)", "log 2", "x")]
    assert storage.list_names(str(odd)) == ["a.parquet"]
    touch(tmp_path / "?" / "f")
    storage.delete(str(odd), str(tmp_path / "?"))
    assert not odd.exists()
    assert all(os.path.exists(other) for other in others)


def test_a_directory_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    touch(tmp_path / "d" / "f")
    assert storage.list_names(str(tmp_path / "d" / "f")) == []
    assert storage.list_names(str(tmp_path / "missing")) == []

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="Cannot list"):
        storage.list_names(str(tmp_path))


def test_a_write_that_breaks_off_for_any_reason_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        storage.write_atomically(str(tmp_path / "f"), lambda file: 1 // 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("renames_onto_files", [True, False])
@pytest.mark.parametrize("directories", [True, False])
def test_a_remote_file_system_is_written_listed_and_deleted(store, monkeypatch, directories, renames_onto_files):
    monkeypatch.setattr(store, "directories", directories)
    monkeypatch.setattr(store, "renames_onto_files", renames_onto_files)
    for content in (b"old", b"new"):
        storage.write_atomically("memory://b/out/d/f", lambda file, content=content: file.write(content))
    storage.write_atomically("memory://b/out/manifest.json", lambda file: file.write(b"{}"))
    assert storage.list_names("memory://b/out") == ["d/f", "manifest.json"]
    assert storage.read_bytes("memory://b/out/d/f") == b"new"
    storage.delete("memory://b/out/manifest.json", "memory://b/out/missing")
    assert storage.list_names("memory://b/out") == ["d/f"]
    storage.delete("memory://b/out")
    assert store.files == {}


@pytest.fixture
def operations(store, monkeypatch) -> list[str]:
    """The names of the operations that the store is asked for, in order."""
    asked = []

    def counted(name, original):
        return lambda *arguments, **options: asked.append(name) or original(*arguments, **options)

    for name in ("create", "open", "match", "exists", "rename", "copy", "delete", "metadata", "size", "mkdirs"):
        monkeypatch.setattr(store, name, counted(name, getattr(store, name)))
    return asked


def test_a_write_to_an_object_store_is_one_upload(store, operations):
    for content in (b"old", b"new"):
        storage.write_atomically("memory://b/f", lambda file, content=content: file.write(content), durable=True)
    assert operations == ["create", "create"]
    assert store.files == {"memory://b/f": b"new"}


def test_on_an_object_store_nothing_is_created_before_the_content_is_complete(store, operations):
    store.files["memory://b/f"] = b"old"

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(InputError, match="disk full") as error:
        storage.write_atomically("memory://b/f", fail)
    assert error.value.code == "FILE-WRITE"
    with pytest.raises(ZeroDivisionError):
        storage.write_atomically("memory://b/f", lambda file: 1 // 0)
    assert operations == []
    assert store.files == {"memory://b/f": b"old"}


class CloudError(Exception):
    """Stands for an exception that a cloud's own client raises."""


def break_uploads(store, monkeypatch, sent: int | None, error: BaseException) -> None:
    """Lets every upload fail. Those with `sent` bytes publish them when they are closed, as a careless client would."""

    class Broken(io.BytesIO):
        def __init__(self, path):
            super().__init__()
            self.path = path

        def write(self, data):
            super().write(bytes(data)[:sent])
            raise error

        def close(self):
            if sent is not None and not self.closed:
                store.files[self.path] = self.getvalue()
            super().close()

    monkeypatch.setattr(store, "create", lambda self, path, *arguments: Broken(path))


@pytest.mark.parametrize("sent", [0, 2])
@pytest.mark.parametrize("older", [{}, {"memory://b/f": b"something older"}])
def test_a_half_written_upload_is_deleted(store, monkeypatch, sent, older):
    store.files.update(older)
    break_uploads(store, monkeypatch, sent, CloudError("quota exceeded"))
    with pytest.raises(InputError, match="Cannot write memory://b/f") as error:
        storage.write_atomically("memory://b/f", lambda file: file.write(b"new"))
    assert (error.value.code, error.value.found) == ("FILE-WRITE", "CloudError: quota exceeded")
    assert store.files == {}


def test_an_upload_that_fails_before_anything_is_visible_leaves_the_older_file(store, monkeypatch):
    store.files["memory://b/f"] = b"something older"
    break_uploads(store, monkeypatch, None, CloudError("reset"))
    with pytest.raises(InputError, match="CloudError: reset"):
        storage.write_atomically("memory://b/f", lambda file: file.write(b"new"))
    assert store.files == {"memory://b/f": b"something older"}


def test_of_an_upload_that_fails_the_first_failure_is_told(store, monkeypatch):
    def refuse(*arguments):
        raise CloudError("second")

    break_uploads(store, monkeypatch, 2, KeyboardInterrupt())
    monkeypatch.setattr(store, "delete", refuse)
    with pytest.raises(KeyboardInterrupt):
        storage.write_atomically("memory://b/f", lambda file: file.write(b"new"))


def test_a_local_copy_lasts_as_long_as_its_block(store, tmp_path):
    storage.write_atomically("memory://b/m/c/f", lambda file: file.write(b"x"))
    with local_copy("memory://b/m") as local:
        assert storage.list_names(local) == ["c/f"]
    assert not os.path.exists(local)
    with local_copy(str(tmp_path)) as local:
        assert local == str(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "c/../../outside", "/outside", "c//f", "./f", ".."])
def test_a_name_that_leads_out_of_a_local_copy_is_refused(store, tmp_path, monkeypatch, name):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store.files[f"memory://b/m/{name}"] = b"x"
    with pytest.raises(ArtifactError, match="could lead out of the directory") as error, local_copy("memory://b/m"):
        pass
    assert error.value.code == "ARTIFACT-NAME"
    assert list(tmp_path.rglob("*")) == []


def test_an_object_that_stands_for_a_folder_is_no_file(store):
    store.files |= {"memory://b/m/": b"", "memory://b/m/c/": b"", "memory://b/m/c/f": b"x"}
    assert storage.list_names("memory://b/m") == ["c/f"]
    with local_copy("memory://b/m") as local:
        assert storage.list_names(local) == ["c/f"]


def test_what_cannot_be_asked_for_is_not_taken_for_missing(store, tmp_path, monkeypatch):
    there = touch(tmp_path / "f")
    assert storage.exists(there)
    assert not storage.exists(str(tmp_path / "missing"))
    assert not storage.exists(there + "/below")

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "exists", refuse)
    for ask, code in ((storage.exists, "FILE-ASK"), (storage.delete, "FILE-DELETE")):
        with pytest.raises(InputError) as error:
            ask("memory://b/f")
        assert error.value.code == code
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(InputError) as error:
            storage.exists(there)
    assert error.value.code == "FILE-ASK"


def test_of_a_write_that_fails_the_first_failure_is_told(store, monkeypatch):
    def refuse(reason):
        def refused(*arguments):
            raise BeamIOError("failed", {"memory://b/f": TimeoutError(reason)})

        return refused

    monkeypatch.setattr(store, "directories", True)
    monkeypatch.setattr(store, "rename", refuse("first"))
    monkeypatch.setattr(store, "exists", refuse("second"))
    with pytest.raises(InputError, match="Cannot write") as error:
        storage.write_atomically("memory://b/f", lambda file: file.write(b"x"))
    assert error.value.found == "TimeoutError: first"


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [("out//", "out"), ("a//b/", "a//b"), ("/", "/"), ("gs://b/out//", "gs://b/out"), ("gs://", "gs://"), ("", "")],
)
def test_slashes_at_the_end_of_a_directory_make_no_difference(spelled, expected):
    assert storage.without_trailing_slashes(spelled) == expected


def test_listing_on_a_file_system_that_beam_does_not_know_is_an_error():
    with pytest.raises(InputError, match="Cannot list nowhere://bucket"):
        storage.list_names("nowhere://bucket")


def test_a_local_file_is_unchanged_while_size_and_time_are(tmp_path):
    path = tmp_path / "f.parquet"
    path.write_bytes(b"123")
    (info,) = list_files(str(path)).files
    assert storage.is_unchanged(info)
    os.utime(path, (1, 1))
    assert not storage.is_unchanged(info)
    path.unlink()
    assert not storage.is_unchanged(info)


def test_a_remote_file_that_cannot_be_asked_for_is_neither_changed_nor_unchanged(store, monkeypatch):
    store.files["memory://b/f"] = b"123"
    assert storage.is_unchanged(storage.FileInfo("memory://b/f", 3))
    assert not storage.is_unchanged(storage.FileInfo("memory://b/f", 4))
    assert not storage.is_unchanged(storage.FileInfo("memory://b/g", 3))

    def refuse(self, path):
        raise BeamIOError("request failed", {path: ConnectionResetError("reset by peer")})

    monkeypatch.setattr(store, "exists", refuse)
    with pytest.raises(InputError) as error:
        storage.is_unchanged(storage.FileInfo("memory://b/f", 3))
    assert error.value.code == "FILE-ASK"
