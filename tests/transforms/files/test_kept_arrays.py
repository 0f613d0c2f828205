import numpy as np
import pytest

from iadsr.transforms.files.kept_arrays import read_kept_arrays, write_kept_arrays

ARRAYS = {"one": np.arange(6).reshape(2, 3), "two": np.array([0.5], np.float32)}


@pytest.fixture
def path(tmp_path) -> str:
    write_kept_arrays(str(tmp_path / "kept.npz"), **ARRAYS)
    return str(tmp_path / "kept.npz")


def test_arrays_are_read_in_the_order_that_is_asked_for(path):
    found = read_kept_arrays(path, ["two", "one"])
    assert found is not None
    for values, name in zip(found, ("two", "one"), strict=True):
        assert (values.dtype, values.tolist()) == (ARRAYS[name].dtype, ARRAYS[name].tolist())


def test_what_is_missing_or_damaged_holds_nothing(path):
    assert read_kept_arrays(path + "-missing", ARRAYS) is None
    assert read_kept_arrays(path, ["three"]) is None
    with open(path, "rb") as file:
        whole = file.read()
    central = whole.index(b"PK\x01\x02")
    encrypted = whole[: central + 8] + b"\x01\x00" + whole[central + 10 :]
    for content in (b"", b"no archive", whole[:-30], encrypted):
        with open(path, "wb") as file:
            file.write(content)
        assert read_kept_arrays(path, ARRAYS) is None
