import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.detector.scoring import Scores
from iadsr.transforms.contract.added_columns import ADDED_COLUMNS, AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.output_schemas import ADDED_FIELDS
from iadsr.transforms.files.run_paths import RunPaths
from iadsr.transforms.files.tables import describe_file
from iadsr.transforms.judge.decide import Decisions
from iadsr.transforms.judge.judge_shard import JudgedShard
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.write.shards import cleaned_interactions, cleaned_sequences, write_shard

COLUMNS = InteractionColumns(user="who", item="what", timestamp="when")


@pytest.fixture
def judged() -> JudgedShard:
    """Three users; the second one's only interaction is dropped."""
    table = pa.table(
        {"who": [1, 1, 2, 3, 3], "what": list("xyxzy"), "when": [1, 2, 1, 5, 6], "rating": [1, 2, 3, 4, 5]}
    )
    items = np.array([0, 1, 0, 2, 1], np.int32)
    ordered = OrderedShard(table, np.array([0, 2, 3, 5]), pa.array(list("xyz")), items, np.arange(5))
    similarities = np.array([[0.5, np.nan, 1]] * 5, np.float32)
    scores = Scores(np.array([0.25, 0.75, 0.75, 0, 0], np.float32), similarities, np.ones(5, bool), np.zeros(5))
    scored = ScoredShard(3, ordered, scores, np.ones(5, bool), np.ones(5, bool), {})
    keep = np.array([True, False, False, True, True])
    reason = pa.array([None if kept else "noise:short_term" for kept in keep.tolist()]).dictionary_encode()
    return JudgedShard(scored, Decisions(keep, reason), np.array([0.5, 0, 0, 1, 1], np.float32))


def test_interactions_keep_their_columns_and_get_what_was_decided(judged):
    table = cleaned_interactions(judged, AddedColumns())
    assert table.select(["who", "what", "when", "rating"]).equals(judged.scored.ordered.table)
    assert [table.schema.field(field.name) for field in ADDED_FIELDS] == list(ADDED_FIELDS)
    assert table.slice(1, 1).select([field.name for field in ADDED_FIELDS]).to_pylist() == [
        {
            "noise_probability": 0.75,
            "keep": False,
            "reason": "noise:short_term",
            "weight": 0.0,
            "long_term_semantic_similarity": 0.5,
            "long_term_collaborative_similarity": None,
            "short_term_similarity": 1.0,
        }
    ]


def test_a_column_of_the_log_stays_beside_an_added_one_of_another_name(judged):
    table = judged.scored.ordered.table.append_column("weight", pa.array(range(5)))
    ordered = judged.scored.ordered._replace(table=table)
    judged = dataclasses.replace(judged, scored=dataclasses.replace(judged.scored, ordered=ordered))
    cleaned = cleaned_interactions(judged, AddedColumns(prefix="x_"))
    assert cleaned["weight"].to_pylist() == list(range(5))
    assert cleaned["x_weight"].to_pylist() == judged.weight.tolist()
    assert cleaned.column_names[5:] == [f"x_{name}" for name in ADDED_COLUMNS]


def test_sequences_hold_what_is_kept_and_no_user_of_whom_nothing_is(judged):
    assert cleaned_sequences(judged, COLUMNS).to_pylist() == [
        {"user_id": 1, "item_ids": ["x"], "timestamps": [1], "weights": [0.5]},
        {"user_id": 3, "item_ids": ["z", "y"], "timestamps": [5, 6], "weights": [1.0, 1.0]},
    ]


def test_a_shards_files_are_written_once(judged, tmp_path):
    paths = RunPaths("staging", str(tmp_path), 8)
    written = write_shard(judged, COLUMNS, AddedColumns(), paths)
    interactions, sequences = tmp_path / "interactions", tmp_path / "sequences"
    assert [file.path for file in written] == [
        str(interactions / "part-00003-of-00008.parquet"),
        str(sequences / "part-00003-of-00008.parquet"),
    ]
    assert [file.rows for file in written] == [5, 2]
    assert pq.read_table(written[0].path).equals(cleaned_interactions(judged, AddedColumns()))
    assert pq.read_table(written[1].path).equals(cleaned_sequences(judged, COLUMNS))

    pq.write_table(pa.table({"n": [1]}), written[0].path)
    (sequences / "part-00003-of-00008.parquet").unlink()
    again = write_shard(judged, COLUMNS, AddedColumns(), paths)
    assert again == [describe_file(written[0].path), written[1]]
    assert again[0].rows == 1
