from iadsr.transforms.files import listed_once
from iadsr.transforms.files.listed_once import ListedOnce


def test_a_store_is_listed_once_and_a_local_file_is_asked_for(store, tmp_path, monkeypatch):
    listed = []
    original = listed_once.list_names
    monkeypatch.setattr(listed_once, "list_names", lambda folder: listed.append(folder) or original(folder))
    store.files["memory://b/out/d/a"] = b"x"
    there = ListedOnce("memory://b/out/")
    assert there.has("memory://b/out/d/a")
    assert not there.has("memory://b/out/a")
    store.files["memory://b/out/a"] = b"x"
    assert not there.has("memory://b/out/a")
    assert listed == ["memory://b/out/"]
    here = ListedOnce(str(tmp_path))
    assert not here.has(str(tmp_path / "a"))
    (tmp_path / "a").touch()
    assert here.has(str(tmp_path / "a"))
    assert len(listed) == 1
