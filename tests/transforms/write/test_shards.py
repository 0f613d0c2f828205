import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.detector.scoring import Scores
from iadsr.transforms.contract.added_columns import AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.output_schemas import added_fields
from iadsr.transforms.files.run_paths import RunPaths
from iadsr.transforms.files.tables import describe_file
from iadsr.transforms.judge.decide import Decisions
from iadsr.transforms.judge.judge_shard import JudgedShard, judge_by_rules
from iadsr.transforms.read.clock import Clock, TimeFacts
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.rules.rule_log import LogRules
from iadsr.transforms.rules.rule_set import RuleSet
from iadsr.transforms.rules.ruled_shard import RuledShard
from iadsr.transforms.write.shards import cleaned_interactions, cleaned_sequences, write_shard
from iadsr.transforms.write.users import describe_users

COLUMNS = InteractionColumns(user="who", item="what", timestamp="when")
ADDED = AddedColumns().written(scored=True)


@pytest.fixture
def judged() -> JudgedShard:
    """Three users; the second one's only interaction is dropped."""
    table = pa.table(
        {"who": [1, 1, 2, 3, 3], "what": list("xyxzy"), "when": [1, 2, 1, 5, 6], "rating": [1, 2, 3, 4, 5]}
    )
    items = np.array([0, 1, 0, 2, 1], np.int32)
    ordered = OrderedShard(
        table, np.array([0, 2, 3, 5]), pa.array(list("xyz")), items, np.arange(5), table["when"].to_numpy()
    )
    similarities = np.array([[0.5, np.nan, 1]] * 5, np.float32)
    scores = Scores(
        np.array([0.25, 0.75, 0.75, 0, 0], np.float32), similarities, np.ones(5, bool), np.zeros(5), np.zeros(5)
    )
    keep = np.array([True, False, False, True, True])
    reason = pa.array([None if kept else "noise:short_term" for kept in keep.tolist()]).dictionary_encode()
    weight = np.array([0.5, 0, 0, 1, 1], np.float32)
    return JudgedShard(3, RuledShard.untouched(ordered), scores, Decisions(keep, reason), weight, {})


@pytest.fixture
def judged_by_rules(judged) -> JudgedShard:
    """The same users; a rule has taken the second one's interaction, and no model was asked."""
    ruled = dataclasses.replace(judged.ruled, taken=np.array([-1, -1, 0, -1, -1], np.int8))
    return judge_by_rules(3, ruled, ("machine",))


def test_interactions_keep_their_columns_and_get_what_was_decided(judged):
    table = cleaned_interactions(judged, ADDED)
    assert table.select(["who", "what", "when", "rating"]).equals(judged.ruled.ordered.table)
    assert [table.schema.field(name) for name in ADDED] == list(added_fields(ADDED))
    assert table.slice(1, 1).select(list(ADDED)).to_pylist() == [
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
    table = judged.ruled.ordered.table.append_column("weight", pa.array(range(5)))
    ordered = judged.ruled.ordered._replace(table=table)
    judged = dataclasses.replace(judged, ruled=dataclasses.replace(judged.ruled, ordered=ordered))
    cleaned = cleaned_interactions(judged, AddedColumns(prefix="x_").written(scored=True))
    assert cleaned["weight"].to_pylist() == list(range(5))
    assert cleaned["x_weight"].to_pylist() == judged.weight.tolist()
    assert cleaned.column_names[5:] == [f"x_{name}" for name in ADDED]


def test_sequences_hold_what_is_kept_and_no_user_of_whom_nothing_is(judged):
    assert cleaned_sequences(judged, COLUMNS).to_pylist() == [
        {"user_id": 1, "item_ids": ["x"], "timestamps": [1], "weights": [0.5]},
        {"user_id": 3, "item_ids": ["z", "y"], "timestamps": [5, 6], "weights": [1.0, 1.0]},
    ]


def test_without_a_model_nothing_says_how_likely_noise_is(judged_by_rules):
    table = cleaned_interactions(judged_by_rules, AddedColumns().written(scored=False))
    assert table.column_names == ["who", "what", "when", "rating", "keep", "reason", "weight"]
    added = added_fields(AddedColumns().written(scored=False))
    assert [table.schema.field(field.name) for field in added] == list(added)
    assert table["reason"].to_pylist() == [None, None, "machine", None, None]
    assert table["weight"].to_pylist() == [1, 1, 0, 1, 1]
    assert cleaned_sequences(judged_by_rules, COLUMNS).to_pylist() == [
        {"user_id": 1, "item_ids": ["x", "y"], "timestamps": [1, 2], "weights": [1.0, 1.0]},
        {"user_id": 3, "item_ids": ["z", "y"], "timestamps": [5, 6], "weights": [1.0, 1.0]},
    ]


def test_what_is_held_out_is_marked_in_interactions_and_sequences(judged):
    ruled = RuledShard.untouched(judged.ruled.ordered, 1)
    held_out = judge_by_rules(3, ruled, ())
    table = cleaned_interactions(held_out, AddedColumns().written(scored=False, split=True))
    assert table.column_names[4:] == ["keep", "reason", "weight", "split"]
    assert table["split"].to_pylist() == ["train", "test", "train", "train", "test"]
    assert table["reason"].to_pylist() == [None, "held_out", None, None, "held_out"]
    assert cleaned_sequences(held_out, COLUMNS, split=True)["splits"].to_pylist() == [
        ["train", "test"],
        ["train"],
        ["train", "test"],
    ]


def test_a_shards_files_are_written_once(judged, tmp_path):
    paths = RunPaths("staging", str(tmp_path), 8)
    people = describe_users(judged, COLUMNS, LogRules(RuleSet(()), Clock.of(TimeFacts())))
    written = write_shard(judged, people, COLUMNS, ADDED, paths)
    interactions, sequences, users = (tmp_path / name for name in ("interactions", "sequences", "users"))
    assert [file.path for file in written] == [
        str(interactions / "part-00003-of-00008.parquet"),
        str(sequences / "part-00003-of-00008.parquet"),
        str(users / "part-00003-of-00008.parquet"),
    ]
    assert [file.rows for file in written] == [5, 2, 3]
    assert pq.read_table(written[0].path).equals(cleaned_interactions(judged, ADDED))
    assert pq.read_table(written[1].path).equals(cleaned_sequences(judged, COLUMNS))
    assert pq.read_table(written[2].path).equals(people)

    pq.write_table(pa.table({"n": [1]}), written[0].path)
    (sequences / "part-00003-of-00008.parquet").unlink()
    again = write_shard(judged, people, COLUMNS, ADDED, paths)
    assert again == [describe_file(written[0].path), *written[1:]]
    assert again[0].rows == 1
