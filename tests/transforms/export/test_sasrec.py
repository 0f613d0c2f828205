"""The text file of SASRec.pytorch."""

import pyarrow.parquet as pq

from iadsr.transforms.export.write_export import write_export


def sequence(*items: str, start: int = 0) -> list[tuple[str, int, float, str]]:
    parts = ["train"] * (len(items) - 2) + ["validation", "test"]
    return [(item, start + time, 1.0, part) for time, (item, part) in enumerate(zip(items, parts, strict=True))]


def test_lines_are_numbers_from_1_in_order(make_run, tmp_path):
    run = make_run({"x": sequence("c", "a", "c", "b")}, {"a": sequence("d", "b", "a", "c")})
    write_export(run, "sasrec", str(tmp_path / "out"), ids=None, overwrite=False)
    lines = (tmp_path / "out" / "log.txt").read_text().splitlines()
    assert lines == ["2 3", "2 1", "2 3", "2 2", "1 4", "1 2", "1 1", "1 3"]
    items = pq.read_table(tmp_path / "out" / "item_map.parquet").to_pydict()
    assert items == {"item_id": ["a", "b", "c", "d"], "number": [1, 2, 3, 4]}


def test_items_keep_their_numbers_and_users_have_no_gaps(make_run, tmp_path):
    first = make_run({"ann": sequence(*"bcde"), "bea": sequence(*"bcde")})
    write_export(first, "sasrec", str(tmp_path / "first"), ids=None, overwrite=False)
    (tmp_path / "run").rename(tmp_path / "old")
    second = make_run({"bea": sequence(*"aebd")})
    exported = write_export(second, "sasrec", str(tmp_path / "second"), ids=str(tmp_path / "first"), overwrite=False)
    assert exported.new_ids == {"item": 1}
    assert (tmp_path / "second" / "log.txt").read_text().splitlines() == ["1 5", "1 4", "1 1", "1 3"]


def test_numbers_can_come_from_the_export_that_is_replaced(make_run, tmp_path):
    write_export(make_run({"ann": sequence(*"bcde")}), "sasrec", str(tmp_path / "out"), ids=None, overwrite=False)
    (tmp_path / "run").rename(tmp_path / "old")
    run = make_run({"ann": sequence(*"abcd")})
    write_export(run, "sasrec", str(tmp_path / "out"), ids=str(tmp_path / "out"), overwrite=True)
    assert (tmp_path / "out" / "log.txt").read_text().splitlines() == ["1 5", "1 1", "1 2", "1 3"]
