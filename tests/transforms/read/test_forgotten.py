import os

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.read.forgotten import forgotten_files, forgotten_users


def test_a_list_is_one_id_per_line_in_one_file_or_several(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffb\r\n a b \r\n\r\nc".encode())
    (tmp_path / "b.txt").write_bytes(b"b\n17\n")
    assert forgotten_users(str(tmp_path / "a.txt")).to_pylist() == [" a b ", "a b", "b", "c"]
    assert forgotten_users(str(tmp_path)).to_pylist() == [" a b ", "17", "a b", "b", "c"]
    assert [os.path.basename(file.path) for file in forgotten_files(str(tmp_path))] == ["a.txt", "b.txt"]
    assert forgotten_files(None) == ()


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        ('"u1"', {'"u1"', "u1"}),
        ("\t'u 1' ", {"\t'u 1' ", "'u 1'", "u 1"}),
        ("7.0", {"7.0", "7"}),
        (" 7", {" 7", "7"}),
        ("+7", {"+7", "7"}),
        ("-1.", {"-1.", "-1"}),
        ("007", {"007"}),
        ("7.5", {"7.5"}),
        ("1e3", {"1e3"}),
        ("U1", {"U1"}),
        ("u1,u2", {"u1,u2"}),
        (
            "9D1F6C1E26A54F0E8A3C000000000001",
            {"9D1F6C1E26A54F0E8A3C000000000001", "9d1f6c1e-26a5-4f0e-8a3c-000000000001"},
        ),
        ("''", {"''"}),
    ],
)
def test_an_id_counts_in_the_forms_that_a_log_may_have(tmp_path, line, ids):
    (tmp_path / "list").write_text(line)
    assert set(forgotten_users(str(tmp_path / "list")).to_pylist()) == ids


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
    assert refused.value.expected == "a text file with one user id per line"
