"""Atomic files of RecBole."""

import csv
import io

import pyarrow as pa
import pytest
import yaml

from iadsr.transforms.export.recbole import lines, unfit
from iadsr.transforms.export.write_export import write_export


def test_a_line_is_user_item_place_and_weight(run):
    assert lines(next(run.sequences())).splitlines()[:3] == ["ann\tb\t0\t1", "ann\ta\t1\t0.25", "ann\tc\t2\t1"]


def test_weights_are_those_of_the_run_to_the_bit(make_run):
    run = make_run({"ann": [("a", 1, 0.1, "train"), ("b", 2, 1 / 3, "train")]})
    sequences = next(run.sequences())
    written = pa.array([float(line.split("\t")[3]) for line in lines(sequences).splitlines()], pa.float32())
    assert written.to_numpy().tolist() == sequences.weights.tolist()


def test_ids_with_tabs_quotes_and_line_feeds_are_read_back(make_run):
    ids = ["a\tb", '"quoted', 'in "the" middle', "two\nlines", " spaces ", "plain"]
    run = make_run({"ann": [(item, time, 1.0, "train") for time, item in enumerate(ids)]})
    text = lines(next(run.sequences()))
    assert [row[1] for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t")] == ids


def test_ids_that_pandas_takes_for_missing_do_not_fit():
    assert unfit(pa.array(["NA", "nan", "None", "null", "", "[PAD]", "a\x00", "na", "b"])).to_pylist() == [
        *[True] * 7,
        False,
        False,
    ]
    assert unfit(pa.array([0, -1])).to_pylist() == [False, False]


def test_behaviours_are_tokens(make_run, tmp_path):
    parts = ("train", "train", "validation", "test")
    sequence = [(item, time, 1.0, part) for time, (item, part) in enumerate(zip("abcd", parts, strict=True))]
    write_export(
        make_run({7: sequence}, behaviours="vbvb"), "recbole", str(tmp_path / "out"), ids=None, overwrite=False
    )
    text = (tmp_path / "out" / "log" / "log.inter").read_text().splitlines()
    assert text[:3] == [
        "user_id:token\titem_id:token\ttimestamp:float\tweight:float\tbehaviour:token",
        "7\ta\t0\t1\tv",
        "7\tb\t1\t1\tb",
    ]
    settings = yaml.safe_load((tmp_path / "out" / "recbole.yaml").read_text())
    assert settings["load_col"]["inter"][-1] == "behaviour"
    assert "`behaviour`" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("hold_out", [0, 2])
def test_files(make_run, tmp_path, hold_out):
    parts = ("train", "train", "validation", "test")
    sequence = [(item, time, 1.0, part) for time, (item, part) in enumerate(zip("abcd", parts, strict=True))]
    run = make_run({7: sequence}, hold_out=hold_out)
    write_export(run, "recbole", str(tmp_path / "out"), ids=None, overwrite=False)
    assert (tmp_path / "out" / "log" / "log.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\tweight:float\n7\ta\t0\t1\n7\tb\t1\t1\n7\tc\t2\t1\n7\td\t3\t1\n"
    )
    settings = yaml.safe_load((tmp_path / "out" / "recbole.yaml").read_text())
    assert settings["eval_args"]["split"] == {"LS": "valid_and_test"}
    compile((tmp_path / "out" / "weighted.py").read_text(), "weighted.py", "exec")
