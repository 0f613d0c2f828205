import os

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.files.listing import list_files
from iadsr.transforms.files.store import FileInfo


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def paths(found):
    return [file.path for file in found.files]


def test_a_directory_stands_for_its_files_at_any_depth_without_hidden_ones(tmp_path, store):
    visible = ["_day=2/c.parquet", "a.parquet", "day=1/b.parquet", "notes.txt"]
    hidden = [".e.parquet", ".staging/d.parquet", "_SUCCESS", "_a=b", "_temporary/0/c.parquet"]
    for name in (*visible, *hidden):
        touch(tmp_path / name)
        store.files[f"memory://b/{name}"] = b"x"
    for root in (str(tmp_path), "memory://b"):
        for path in (root, f"{root}/"):
            found = list_files(path)
            assert paths(found) == [f"{root}/{name}" for name in visible]
            assert found.hidden == tuple(f"{root}/{name.split('/')[0]}" for name in hidden)
            assert (found.folder, found.is_directory, found.is_one_file) == (root, True, False)


def test_a_directory_may_be_named_like_a_file(tmp_path):
    inside = touch(tmp_path / "log.parquet" / "part-0.parquet")
    assert paths(list_files(str(tmp_path / "log.parquet"))) == [inside]


def test_one_file_and_a_glob(tmp_path):
    one, two = touch(tmp_path / "1.parquet", b"12345"), touch(tmp_path / "2.pq")
    found = list_files(one)
    assert found.files == (FileInfo(one, 5, os.stat(one).st_mtime),)
    assert (found.folder, found.is_directory, found.is_one_file) == (str(tmp_path), False, True)
    assert paths(list_files(two)) == [two]
    assert paths(list_files(str(tmp_path / "*.p*"))) == [one, two]


def test_links_are_followed_and_each_file_is_listed_once_by_its_own_name(tmp_path):
    log = tmp_path / "log"
    own = touch(log / "day=1" / "a.parquet")
    touch(tmp_path / "elsewhere" / "b.parquet", b"123")
    (tmp_path / "elsewhere" / "back").symlink_to(log)
    (log / "day=2").symlink_to(tmp_path / "elsewhere")
    (log / "current").symlink_to("day=1")
    (log / "0.parquet").symlink_to(own)
    linked = str(log / "day=2" / "b.parquet")
    for path in (log, log / "**", log / "*" / "*.parquet"):
        assert paths(list_files(str(path))) == [own, linked]
    assert list_files(linked).files[0].size == 3
    assert paths(list_files(str(log / "current"))) == [str(log / "current" / "a.parquet")]


def test_a_link_that_leads_nowhere_and_a_folder_that_cannot_be_read_are_errors(tmp_path, monkeypatch):
    touch(tmp_path / "a.parquet")
    (tmp_path / "day=1").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="FILE-LINK") as error:
        list_files(str(tmp_path))
    assert f"{tmp_path / 'day=1'} leads nowhere" in str(error.value)
    assert str(tmp_path / "gone") in str(error.value)
    (tmp_path / "day=1").unlink()

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(InputError, match="Cannot list"):
        list_files(str(tmp_path))


def test_a_glob_may_match_folders_alone(tmp_path):
    names = ["l/day=1/a.parquet", "l/day=2/x/b.parquet", "l/other/c.parquet"]
    for name in names:
        touch(tmp_path / name)
    assert paths(list_files(f"{tmp_path}/l/day=*")) == paths(list_files(f"{tmp_path}/l/day=*/"))
    assert paths(list_files(f"{tmp_path}/l/day=*")) == [str(tmp_path / name) for name in names[:1]]


def test_a_glob_passes_over_hidden_names_that_it_does_not_spell_out(tmp_path, store):
    names = ["_temporary/0/a.parquet", "x/.staging/b.parquet", "x/_c.parquet", "x/d.parquet", "part.parquet"]
    for name in names:
        touch(tmp_path / name)
        store.files[f"memory://b/{name}"] = b"x"
    (tmp_path / "x" / ".lock").symlink_to("nowhere")
    for root in (str(tmp_path), "memory://b"):
        expected = [f"{root}/part.parquet", f"{root}/x/d.parquet"]
        for pattern in ("**", "**.parquet", "*[!/]**"):
            assert paths(list_files(f"{root}/{pattern}")) == expected
        assert paths(list_files(f"{root}/part*")) == expected[:1]
        assert paths(list_files(f"{root}/[x]/")) == expected[1:]
        assert paths(list_files(f"{root}/**/*.parquet")) == expected[1:]
        assert paths(list_files(f"{root}/_temporary/**")) == [f"{root}/_temporary/0/a.parquet"]
        assert paths(list_files(f"{root}/x/_*")) == [f"{root}/x/_c.parquet"]


def test_a_glob_leaves_out_only_what_it_could_have_matched(tmp_path):
    for name in ("a/_x.parquet", "a/.git/x.parquet", "b/.y.parquet", "c.parquet", ".z.parquet"):
        touch(tmp_path / name)
    assert list_files(f"{tmp_path}/a/*").hidden == (f"{tmp_path}/a/.git", f"{tmp_path}/a/_x.parquet")
    assert list_files(f"{tmp_path}/*.parquet").hidden == (f"{tmp_path}/.z.parquet",)
    assert list_files(f"{tmp_path}/[ab]/**").hidden == tuple(
        f"{tmp_path}/{name}" for name in ("a/.git", "a/_x.parquet", "b/.y.parquet")
    )
    with pytest.raises(InputError, match="No file found"):
        list_files(f"{tmp_path}/log[12]")


def test_a_glob_looks_no_deeper_than_it_reaches(tmp_path, monkeypatch):
    inside = touch(tmp_path / "a.parquet")
    touch(tmp_path / "private" / "b.parquet")
    (tmp_path / "private" / "broken").symlink_to(tmp_path / "gone")
    seen, original = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (seen.append(path), original(path))[1])
    assert paths(list_files(str(tmp_path / "*.parquet"))) == [inside]
    assert seen == [str(tmp_path)]


def test_a_glob_may_be_relative(tmp_path, monkeypatch):
    touch(tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)
    assert paths(list_files("*.parquet")) == ["a.parquet"]
    assert paths(list_files(".")) == ["./a.parquet"]


@pytest.mark.parametrize("name", ["", "missing.parquet", "*.parquet"])
def test_nothing_found_is_an_error_that_names_the_path(tmp_path, name):
    with pytest.raises(InputError, match="No file found"):
        list_files(str(tmp_path / name))


def test_a_scheme_that_beam_does_not_know_is_an_error(tmp_path):
    with pytest.raises(InputError, match="Cannot list nowhere://bucket/log"):
        list_files("nowhere://bucket/log")


def test_a_path_with_the_characters_of_a_glob_is_taken_as_it_is_where_it_exists(tmp_path):
    odd = tmp_path / "log [2024]"
    inside = touch(odd / "a.parquet")
    assert paths(list_files(str(odd))) == [inside]
    assert paths(list_files(inside)) == [inside]
    touch(tmp_path / "log (2024)" / "a.parquet")
    assert paths(list_files(str(odd))) == [inside]


def test_a_glob_that_makes_no_sense_is_an_error_of_ours(tmp_path):
    (tmp_path / "a.parquet").touch()
    with pytest.raises(InputError, match="Cannot list"):
        list_files(f"{tmp_path}/[z-a].parquet")
