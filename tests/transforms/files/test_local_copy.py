import multiprocessing
import os
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileMetadata

from iadsr.models.core.errors import ArtifactError
from iadsr.transforms.files import local_copy, storage
from iadsr.transforms.files.local_copy import shared_copy

SOURCE = "memory://b/m"


@pytest.fixture
def dated(store, tmp_path, monkeypatch):
    """The memory file system with times of change, a directory in it, and a temporary directory of its own."""
    changed = dict.fromkeys(["memory://b/m/c/f", "memory://b/m/g"], 1.0)

    def listed(self, prefix):
        found = {path: data for path, data in sorted(store.files.items()) if path.startswith(prefix)}
        yield from (FileMetadata(path, len(data), changed.get(path, 0.0)) for path, data in found.items())

    monkeypatch.setattr(store, "_list", listed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(local_copy, "_held", {})
    store.files |= {"memory://b/m/c/f": b"one", "memory://b/m/g": b"two"}
    yield changed
    local_copy._let_go()


@pytest.fixture
def opened(store, monkeypatch) -> list[str]:
    """The remote files that were opened."""
    seen: list[str] = []
    original = store.open
    monkeypatch.setattr(store, "open", lambda self, path, *more: (seen.append(path), original(self, path, *more))[1])
    return seen


def copies(tmp_path: Path) -> list[Path]:
    return [path for folder in tmp_path.glob("iadsr-copies-*") for path in folder.iterdir()]


def read(directory: str) -> dict[str, bytes]:
    return {name: Path(directory, name).read_bytes() for name in storage.list_names(directory)}


def test_a_directory_is_copied_once_and_the_copy_stays(dated, opened, tmp_path):
    for _ in range(3):
        with shared_copy(SOURCE) as local:
            assert read(local) == {"c/f": b"one", "g": b"two"}
    assert len(opened) == 2
    assert copies(tmp_path) == [Path(local)]
    with shared_copy(str(tmp_path)) as here:
        assert here == str(tmp_path)


def _use(begin, path: str) -> None:
    """In a process of its own."""
    begin.wait()
    with shared_copy(SOURCE) as local:
        content = read(local)
    Path(path).write_text(f"{local} {content}")


def test_processes_wait_for_one_another_and_share_one_copy(dated, tmp_path, store, monkeypatch):
    log = tmp_path / "opened"
    original = store.open

    def logged(self, path, *more):
        with log.open("a") as file:
            file.write(f"{path}\n")
        return original(self, path, *more)

    monkeypatch.setattr(store, "open", logged)
    context = multiprocessing.get_context("fork")
    begin = context.Event()
    results = [tmp_path / f"result-{number}" for number in range(4)]
    processes = [context.Process(target=_use, args=(begin, str(path))) for path in results]
    for process in processes:
        process.start()
    begin.set()
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} == {0}
    assert len({path.read_text() for path in results}) == 1
    assert "b'one'" in results[0].read_text()
    assert log.read_text().count("\n") == 2


@pytest.mark.parametrize("change", ["content", "size", "name"])
def test_a_copy_is_not_used_after_the_directory_has_changed(dated, store, change):
    with shared_copy(SOURCE) as before:
        pass
    if change == "name":
        store.files["memory://b/m/h"] = store.files.pop("memory://b/m/g")
        dated["memory://b/m/h"] = 1.0
        expected = {"c/f": b"one", "h": b"two"}
    else:
        store.files["memory://b/m/g"] = b"owt" if change == "content" else b"three"
        dated["memory://b/m/g"] += change == "content"
        expected = {"c/f": b"one", "g": store.files["memory://b/m/g"]}
    with shared_copy(SOURCE) as local:
        assert read(local) == expected
    assert local != before


def test_a_directory_that_changes_while_it_is_copied_is_copied_again(dated, store, opened, monkeypatch):
    copy, changed = local_copy._copy, []

    def meddle(*arguments):
        copy(*arguments)
        if not changed:
            changed.append(True)
            store.files["memory://b/m/g"] = b"new"
            dated["memory://b/m/g"] = 2.0

    monkeypatch.setattr(local_copy, "_copy", meddle)
    with shared_copy(SOURCE) as local:
        assert read(local) == {"c/f": b"one", "g": b"new"}
    assert len(opened) == 4


def test_without_times_of_change_a_copy_is_not_shared(dated, opened, tmp_path):
    dated["memory://b/m/g"] = 0.0
    for _ in range(2):
        with shared_copy(SOURCE) as local:
            assert read(local) == {"c/f": b"one", "g": b"two"}
        assert not os.path.exists(local)
    assert len(opened) == 4
    assert copies(tmp_path) == []


def test_a_folder_that_others_can_write_to_is_not_trusted(dated, tmp_path):
    folder = tmp_path / f"iadsr-copies-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with shared_copy(SOURCE) as local:
        assert not local.startswith(str(folder))
        assert read(local) == {"c/f": b"one", "g": b"two"}


def test_a_copy_that_lost_a_file_is_made_again(dated, tmp_path, opened):
    with shared_copy(SOURCE) as local:
        os.remove(f"{local}/g")
    with shared_copy(SOURCE) as local:
        assert read(local) == {"c/f": b"one", "g": b"two"}
    assert len(opened) == 4


def test_copies_that_nobody_uses_are_deleted(dated, tmp_path, store):
    with shared_copy(SOURCE) as first:
        pass
    left_behind = Path(first).parent / ".tmp-of-a-killed-process"
    left_behind.mkdir()
    store.files["memory://b/other/f"] = b"x"
    dated["memory://b/other/f"] = 1.0
    with shared_copy("memory://b/other") as second:
        pass
    assert sorted(copies(tmp_path)) == sorted([Path(first), Path(second)])  # both are in use here
    local_copy._let_go()
    assert copies(tmp_path) == []


@pytest.mark.parametrize("name", ["../outside", "c/../../outside", "/outside", ".."])
def test_a_name_that_leads_out_of_a_shared_copy_is_refused(dated, store, tmp_path, name):
    store.files[f"memory://b/m/{name}"] = b"x"
    with pytest.raises(ArtifactError, match="could lead out of the directory") as error, shared_copy(SOURCE):
        pass
    assert error.value.code == "ARTIFACT-NAME"
    assert list(tmp_path.rglob("*")) == []
