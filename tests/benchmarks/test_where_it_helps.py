import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.where_it_helps import format_lift, make_groups, make_treatments, read_cleaned
from iadsr.models.core.sequences import Sequences
from iadsr.models.evaluation.bootstrap import Estimate
from iadsr.models.evaluation.held_out import HeldOutLog


def test_the_controls_give_the_same_weights_to_other_interactions():
    training = np.array([True] * 6 + [False] * 2)
    weight = np.array([1, 0, 0.5, 1, 0.2, 1, 1, 1], np.float32)
    text = np.array([0.1, 0.2, 0.9, 0.3, 0.8, 0.4, 9, 9])  # what is held out fits least, and must not matter
    by_name = {each.name.split(":")[-1].strip(): each for each in make_treatments(weight, training, text, seed=0)}
    raw, cleaned, removal, weights, random, by_text = by_name.values()
    assert raw.keep.all()
    assert (raw.weight == 1).all()
    assert cleaned.keep.tolist() == (weight > 0).tolist()
    assert cleaned.weight.tolist() == weight.tolist()
    assert removal.keep.tolist() == cleaned.keep.tolist()
    assert (removal.weight == 1).all()
    assert weights.keep.all()
    assert weights.weight.tolist() == weight.tolist()
    for control in (random, by_text):
        assert sorted(control.weight[training]) == sorted(weight[training])
        assert control.keep.tolist() == (control.weight > 0).tolist()
        assert (control.weight[~training] == 1).all()
    assert random.weight.tolist() != weight.tolist()
    assert by_text.weight[:6].tolist() == np.array([1, 1, 0, 1, 0.2, 0.5], np.float32).tolist()


def test_users_are_halved_by_their_targets_and_their_histories():
    lengths = [3] * 30 + [6] * 30
    items = np.concatenate([[0, 1, 2]] * 30 + [[0, 1, 2, 1, 2, 0]] * 30)
    groups = make_groups(HeldOutLog.split(Sequences.from_lengths(items, np.array(lengths))))
    short = np.arange(60) < 30
    assert groups["all"].all()
    assert groups["short histories"].tolist() == short.tolist()
    assert groups["long histories"].tolist() == (~short).tolist()
    # Of what is for training, item 0 has 60 interactions, item 2 has 30: it is the target of the short histories.
    assert groups["rare targets"].tolist() == short.tolist()
    assert groups["popular targets"].tolist() == (~short).tolist()


def test_what_rules_dropped_is_no_part_of_the_log(tmp_path):
    (tmp_path / "interactions").mkdir()
    table = pa.table(
        {
            "user_id": ["a", "a", "a", "b", "b"],
            "item_id": ["x", "y", "x", "y", "z"],
            "noise_probability": pa.array([0.1, None, 0.9, None, 0.2], pa.float32()),
            "keep": [True, False, False, True, True],  # the second one by a rule; the fourth one is not judged
            "weight": pa.array([0.6, 0, 0, 1, 0.2], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "interactions" / "part.parquet")
    sequences, weight, item_ids = read_cleaned(str(tmp_path))
    assert [item_ids[item].as_py() for item in sequences.items] == ["x", "x", "y", "z"]
    assert sequences.lengths.tolist() == [2, 2]
    assert weight.tolist() == np.array([0.6, 0, 1, 0.2], np.float32).tolist()


def test_a_lift_is_shown_with_its_interval():
    assert format_lift(Estimate(0.078, 0.048, -0.001)) == "+7.8% [+4.8%, -0.1%]"
