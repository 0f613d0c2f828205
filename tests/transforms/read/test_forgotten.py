import os

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.read.forgotten import forgotten_files, forgotten_users


def test_a_list_is_one_id_per_line_in_one_file_or_several(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffb\r\n a b \r\n\r\nc".encode())
    (tmp_path / "b.txt").write_bytes(b"b\n17\n")
    assert forgotten_users(str(tmp_path / "a.txt")).to_pylist() == [" a b ", "b", "c"]
    assert forgotten_users(str(tmp_path)).to_pylist() == [" a b ", "17", "b", "c"]
    assert [os.path.basename(file.path) for file in forgotten_files(str(tmp_path))] == ["a.txt", "b.txt"]
    assert forgotten_files(None) == ()


def test_a_list_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "list"
    path.write_text("a\n")
    assert forgotten_users(str(path)).to_pylist() == ["a"]
    path.write_text("a\nb\n")
    assert forgotten_users(str(path)).to_pylist() == ["a", "b"]
    path.write_text("")
    assert forgotten_users(str(path)).to_pylist() == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"PAR1\x00\x00"])
def test_what_is_no_text_and_what_is_not_there_are_refused(tmp_path, content):
    path = tmp_path / "list"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        forgotten_users(str(path))
    assert refused.value.code == "FORGET-TEXT"
    with pytest.raises(InputError) as refused:
        forgotten_files(str(tmp_path / "none"))
    assert refused.value.code == "FILE-NONE"
