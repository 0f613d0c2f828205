"""Numbers for ids: from 1 on in ascending order, and kept from one export to the next."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.export.id_map import IdMap, read_id_map


def empty(data_type) -> IdMap:
    return IdMap.of(pa.array([], data_type), np.zeros(0, np.int64), 1)


@pytest.mark.parametrize("ids", [["c", "a", "b"], [30, 10, 20]])
def test_numbers_ascend_with_the_ids_and_begin_at_1(ids):
    made = empty(pa.array(ids).type).extended(pa.array(ids))
    assert made.of_ids(pa.array([*ids, ids[0]])).to_pylist() == [3, 1, 2, 3]


def test_ids_of_an_earlier_map_keep_their_numbers_even_if_they_are_gone(tmp_path):
    first = empty(pa.string()).extended(pa.array(["m", "k"]))
    pq.write_table(first.to_table("item_id"), tmp_path / "map.parquet")
    read = read_id_map(str(tmp_path / "map.parquet"), "item_id", pa.large_string(), 1)
    second = read.extended(pa.array(["m", "b", "a"], pa.large_string()))
    assert second.to_table("item_id").to_pydict() == {"item_id": ["k", "m", "a", "b"], "number": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    "columns",
    [
        {"item_id": ["a"]},
        {"item_id": [1], "number": [1]},
        {"item_id": ["a", None], "number": [1, 2]},
        {"item_id": ["a", "b"], "number": [1, 1]},
        {"item_id": ["a", "a"], "number": [1, 2]},
        {"item_id": ["a"], "number": [0]},
        {"item_id": ["a"], "number": ["1"]},
    ],
)
def test_a_file_that_is_no_map_of_such_ids_is_refused(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "map.parquet")
    with pytest.raises(InputError) as error:
        read_id_map(str(tmp_path / "map.parquet"), "item_id", pa.string(), 1)
    assert error.value.code == "EXPORT-IDS"


def test_a_map_that_is_not_there_or_is_no_parquet_is_refused_with_what_to_do_about_ids(tmp_path):
    (tmp_path / "map.parquet").write_text("no Parquet")
    for name, words in (("none.parquet", "No such file"), ("map.parquet", "magic bytes")):
        with pytest.raises(InputError, match=words) as error:
            read_id_map(str(tmp_path / name), "item_id", pa.string(), 1)
        assert error.value.code == "EXPORT-IDS"
        assert error.value.fix == "name the output of an earlier export of this log with --ids, or leave --ids out"
