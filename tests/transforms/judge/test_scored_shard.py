import numpy as np
import pyarrow as pa

from iadsr.models.detector.scoring import Scores
from iadsr.transforms.contract.added_columns import ADDED_COLUMNS
from iadsr.transforms.judge.scored_shard import ScoredShard, StagedShard, read_staged_shard, stage_shard
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.rules.ruled_shard import RuledShard


def test_a_shard_survives_staging_to_the_bit(tmp_path):
    table = pa.table({"user_id": ["a", "a", "b"], "item_id": ["y", "x", "x"], "timestamp": [1, 2, 1]})
    for name in ADDED_COLUMNS:  # a log may have columns of these names itself
        table = table.append_column(name, pa.array(["own", None, "own"]))
    ordered = OrderedShard(
        table,
        np.array([0, 2, 3]),
        pa.array(["x", "y"]),
        np.array([1, 0, 0], np.int32),
        np.arange(3),
        np.array([1, 2, 1]),
    )
    scores = Scores(
        noise_probability=np.array([0.1, 0.2, 0.0], np.float32),
        similarities=np.array([[0.1, 0.2, 0.3], [-1, np.nan, 1], [np.nan] * 3], np.float32),
        scored=np.array([True, True, False]),
        sign=np.array([0, 2, 0], np.int8),
        stray_probability=np.array([0.3, 0.1, 0.0], np.float32),
    )
    scored = ScoredShard(
        4,
        RuledShard(ordered, np.array([-1, 3, -1], np.int8), np.array([0, 0, 6], np.uint16)),
        scores,
        np.array([True, True, False]),
        np.array([True, False, False]),
        {"score": 0.5},
    )
    path = str(tmp_path / "scored-00004.arrow")
    stage_shard(path, scored)
    assert_same(read_staged_shard(path, StagedShard(4, {"score": 0.5})), table, scores)


def assert_same(back, table, scores):
    assert back.shard == 4
    assert back.seconds == {"score": 0.5}
    assert back.ordered.table.equals(table)
    assert back.ordered.offsets.tolist() == [0, 2, 3]
    assert back.ordered.rows.tolist() == [0, 1, 2]
    assert back.ordered.time.tolist() == [1, 2, 1]
    assert (back.ruled.taken.tolist(), back.ruled.counted.tolist()) == ([-1, 3, -1], [0, 0, 6])
    assert (back.ruled.taken.dtype, back.ruled.counted.dtype) == (np.int8, np.uint16)
    assert (back.known.tolist(), back.has_text.tolist()) == ([True, True, False], [True, False, False])
    assert back.ordered.item_ids.take(back.ordered.items).to_pylist() == ["y", "x", "x"]
    for name in ("noise_probability", "similarities", "scored", "sign"):
        found, expected = getattr(back.scores, name), getattr(scores, name)
        assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
        assert found.dtype == expected.dtype
