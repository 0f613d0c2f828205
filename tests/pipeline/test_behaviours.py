"""A log with behaviours, from the files to the exports."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_files import read_noise_reference
from iadsr.pipeline import clean, export, verify
from iadsr.pipeline.commands.command_options import TrainOptions
from iadsr.pipeline.commands.train import run_train, without_taken
from iadsr.transforms import clean_table
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.items.joined_items import join_embedding_tables
from iadsr.transforms.judge.artifacts import COLLABORATIVE, read_model_facts
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import read_log
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import make_rules

ORDER = ("view", "cart", "buy")
COLUMNS = InteractionColumns(behaviour="event", behaviours=ORDER)
KEY = [(name, "ascending") for name in ("user_id", "timestamp", "item_id")]


def funnel(log: pa.Table) -> pa.Table:
    """Returns the log as views, two in five of which lead to a cart, and half of these to a purchase."""
    steps = np.random.default_rng(3).choice(3, len(log), p=[0.6, 0.2, 0.2])
    parts = []
    for number, behaviour in enumerate(ORDER):
        part = log.filter(pa.array(steps >= number))
        later = pc.add(part["timestamp"], 7 * number)  # the log's own times are minutes apart
        parts.append(part.set_column(2, "timestamp", later).append_column("event", pa.repeat(behaviour, len(part))))
    return pa.concat_tables(parts)


@pytest.fixture(scope="module")
def cleaned(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("funnel")
    log = funnel(world.log())
    pq.write_table(log, root / "log.parquet", row_group_size=700)
    views = log.filter(pc.equal(log["event"], "view"))
    pq.write_table(views, root / "views.parquet")
    settings = {"embeddings": world.embeddings, "model": world.model, "threshold": 0.4}
    plain = clean(interactions=root / "views.parquet", output=root / "plain", **settings).manifest
    behaviours = {"behaviour_column": "event", "behaviours": ORDER}
    result = clean(interactions=root / "log.parquet", output=root / "out", **settings, **behaviours)
    return root, log, plain, result


def interactions(output) -> pa.Table:
    return pq.read_table(output / "interactions").sort_by(KEY)


def test_a_journey_is_one_piece_of_evidence_and_its_steps_share_scores(cleaned):
    root, log, _, _ = cleaned
    table, plain = interactions(root / "out"), interactions(root / "plain")
    assert len(table) == len(log)
    views = table.filter(pc.equal(table["event"], "view"))
    for name in ("long_term_semantic_similarity", "long_term_collaborative_similarity", "short_term_similarity"):
        assert views[name].equals(plain[name])
    steps = table.group_by(["user_id", "item_id"]).aggregate([("noise_probability", "count_distinct")])
    assert set(steps["noise_probability_count_distinct"].to_pylist()) == {1}


def test_a_model_remembers_the_behaviours_that_it_was_trained_with(cleaned, world, tmp_path):
    root, *_ = cleaned
    for name, order in (("order", ORDER), ("none", None)):
        log = LogSource(str(root / "log.parquet"), InteractionColumns(behaviour="event", behaviours=order))
        run_train(TrainOptions(log, world.embeddings, str(tmp_path / name)))
        assert read_model_facts(str(tmp_path / name)).behaviours == (order or ())
    assert read_model_facts(world.model).behaviours is None


def test_the_manifest_counts_each_behaviour_and_the_output_verifies(cleaned):
    root, log, plain, result = cleaned
    manifest = result.manifest
    assert [each.behaviour for each in manifest.behaviours] == list(ORDER)
    rows = dict(zip(*(column.to_pylist() for column in log["event"].value_counts().flatten()), strict=True))
    assert {each.behaviour: each.interactions for each in manifest.behaviours} == rows
    assert sum(each.dropped for each in manifest.behaviours) == manifest.rows.dropped
    assert sum(each.journeys for each in manifest.behaviours) == plain.rows.read
    assert manifest.behaviours[2].journeys == rows["buy"]
    assert json.loads((root / "out" / "manifest.json").read_text())["behaviours"][0]["behaviour"] == "view"
    assert plain.behaviours == ()
    assert str(verify(root / "out"))


def test_without_an_order_no_journey_is_counted_for_a_behaviour(cleaned, tmp_path):
    root, log, _, _ = cleaned
    log_alone = {"interactions": root / "log.parquet", "behaviour_column": "event", "rules_only": True}
    found = clean(**log_alone, output=tmp_path / "out").manifest.behaviours
    assert [(each.behaviour, each.journeys) for each in found] == [("buy", None), ("cart", None), ("view", None)]
    assert sum(each.interactions for each in found) == len(log)
    assert "By behaviour" in (tmp_path / "out" / "report.html").read_text()


def test_sequences_carry_the_behaviour(cleaned):
    root, _, _, _ = cleaned
    sequences = pq.read_table(root / "out" / "sequences")
    assert sequences.column_names == ["user_id", "item_ids", "timestamps", "weights", "behaviours"]
    table = interactions(root / "out")
    kept = table.filter(table["keep"])
    assert pc.list_flatten(sequences.sort_by("user_id")["behaviours"]).to_pylist() == kept["event"].to_pylist()
    assert "behaviours" not in pq.read_schema(next((root / "plain" / "sequences").iterdir())).names


def test_a_column_without_the_named_behaviours_is_refused_before_anything_is_scored(cleaned, world, tmp_path):
    root, _, _, _ = cleaned
    with pytest.raises(InputError) as error:
        clean(
            interactions=root / "log.parquet",
            output=tmp_path / "out",
            rules_only=True,
            behaviour_column="event",
            behaviours="VIEW,BUY",
        )
    assert error.value.code == "LOG-BEHAVIOURS"


def test_training_learns_from_one_interaction_of_each_journey(cleaned):
    root, _, _, _ = cleaned
    evidence = []
    for name, columns in {"log": COLUMNS, "views": InteractionColumns()}.items():
        source = LogSource(str(root / f"{name}.parquet"), columns)
        ordered, _, clock = read_log(source, plan_input(source))
        rules = make_rules(RuleOptions(), "item_id", ordered.item_ids.type)
        log, _ = without_taken(ordered, rules, columns, clock)
        evidence.append(log.sequences(columns))
    for name in ("items", "offsets", "keys", "times"):
        assert np.array_equal(*(getattr(sequences, name) for sequences in evidence))


def test_a_table_in_memory_is_decided_likewise(cleaned, world):
    root, log, _, _ = cleaned
    collaborative = read_embeddings(f"{world.model}/{COLLABORATIVE}", kind="collaborative")
    items = join_embedding_tables(read_embeddings(world.embeddings), collaborative)
    model, reference = IADSR.from_pretrained(world.model), read_noise_reference(world.model)
    found = clean_table(log, model, items, reference, COLUMNS, Policy(threshold=0.4)).interactions
    assert found.sort_by(KEY).equals(interactions(root / "out"))


def test_an_export_has_the_behaviours_of_what_is_kept(cleaned, tmp_path):
    root, _, _, _ = cleaned
    export(root / "out", format="hf", output=tmp_path / "hf")
    exported = pq.read_table(tmp_path / "hf" / "train")
    table = interactions(root / "out")
    kept = table.filter(pc.and_(table["keep"], pc.greater(table["weight"], 0)))
    for behaviour in ORDER:
        found, expected = (pc.sum(pc.equal(each, behaviour)).as_py() for each in (exported["behaviour"], kept["event"]))
        assert found == expected > 0
