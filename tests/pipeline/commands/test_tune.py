import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from iadsr.models.core.errors import InputError, UsageError
from iadsr.models.evaluation.bootstrap import Estimate
from iadsr.models.evaluation.downstream_recommender import DownstreamConfig
from iadsr.pipeline import clean
from iadsr.pipeline.commands.command_options import TuneOptions
from iadsr.pipeline.commands.tune import CANDIDATES, FINALISTS, _choose, _rules_beside, _sample, run_tune
from iadsr.pipeline.commands.tuning import RAW, RULES, Candidate, Tuning
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.rules.rule_options import RuleOptions

SMALL = DownstreamConfig(dimension=8, max_length=10, negatives=16, epochs=2, dropout=0.1)


def test_the_best_that_is_certainly_better_is_chosen_and_the_test_items_have_no_say():
    generator = np.random.default_rng(0)
    users = generator.random((1, 3, 400)) * 0.1
    validation = users + np.array([0.3, 0.5, 0.6, 0.2])[:, None, None]
    test = users + np.array([0.3, 0.9, 0.4, 0.9])[:, None, None]
    chosen, lift = _choose(validation, test, 0)
    assert chosen == 2
    assert lift.value == pytest.approx(0.1 / (test[0].mean()))
    assert lift.low > 0


def test_what_may_be_better_by_chance_is_not_chosen():
    generator = np.random.default_rng(0)
    validation = generator.random((3, 3, 50))
    chosen, lift = _choose(validation, validation, 0)
    assert chosen == 0
    assert lift == Estimate(0, 0, 0)


def test_a_sample_is_of_whole_users_and_the_same_whatever_else_is_there():
    log = pa.table(
        {
            "user_id": np.repeat(np.arange(50), 3),
            "item_id": np.arange(150),
            "timestamp": np.tile([3, 1, 2], 50),
        }
    )
    columns = InteractionColumns()
    chosen = _sample(order_interactions(log, columns), columns, 10)
    users = chosen.user_ids(columns).to_pylist()
    assert (len(users), np.diff(chosen.offsets).tolist()) == (10, [3] * 10)
    assert chosen.item_ids.take(pa.array(chosen.items)).equals(chosen.table["item_id"].combine_chunks())
    fewer = log.filter(pc.is_in(log["user_id"], value_set=pa.array([*users, 0, 1, 2])))
    assert _sample(order_interactions(fewer, columns), columns, 10).user_ids(columns).to_pylist() == users
    everyone = order_interactions(log, columns)
    assert _sample(everyone, columns, 50) is everyone


def test_a_tuning_writes_a_policy_that_clean_applies(world, tmp_path):
    log = world.log()
    doubled = pa.concat_tables([log, log.slice(0, 200)])
    pq.write_table(doubled, tmp_path / "log.parquet")
    source = LogSource(str(tmp_path / "log.parquet"))
    output = str(tmp_path / "policy.yaml")
    tuning = run_tune(
        TuneOptions(source, world.embeddings, output, RuleOptions(duplicates="drop"), seeds=2), downstream=SMALL
    )
    assert [each.name for each in tuning.candidates] == [RAW, *CANDIDATES]
    left = {each.name: each.left for each in tuning.candidates}
    assert left[RAW] == 1
    assert 1 > left[RULES] > left["drop 5%"] > left["drop 30%"]
    assert sum(each.validation is not None for each in tuning.candidates) == 1 + FINALISTS
    assert (tuning.users, tuning.users_sampled, tuning.users_of_log) == (400, 400, 400)
    text = (tmp_path / "policy.yaml").read_text()
    assert "\n# The rules that it was tuned under are not part of it. Give clean the same: --duplicates drop\n" in text
    # Of this log the detector sees 2,400 interactions, too few for an estimate.
    assert left["default"] == left["weights 1 - 8p"] == left[RULES]
    assert "# The share of noise is not known (the model was trained on too few users" in text
    assert f"# Chosen: {tuning.chosen}." in text or "drops and weighs nothing" in text

    # Whatever was chosen, a policy of each kind is read back as it was.
    (tmp_path / "policy.yaml").write_text(
        "# by hand\n" + yaml.safe_dump({"drop_rate": 0.1, "weight_strength": 2.0, "min_length": 2})
    )
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    manifest = clean(**paths, output=tmp_path / "out", policy=output, hold_out=2).manifest
    assert (manifest.policy.rule, manifest.policy.drop_rate) == ("drop_rate", 0.1)
    assert (manifest.policy.min_length, manifest.policy.weight_strength) == (2, 2.0)
    assert manifest.options["policy"]["file"] == output
    table = pq.read_table(tmp_path / "out" / "interactions")
    dropped = table.filter(pc.invert(table["keep"]))
    assert len(dropped) > 0
    assert set(dropped["split"].to_pylist()) == {"train"}


def test_with_behaviours_the_test_is_on_journeys_and_not_on_their_steps(world, tmp_path, monkeypatch):
    class EnoughError(Exception):
        pass

    def stop(held_out, *_):
        tested.append(held_out)
        raise EnoughError

    tested = []
    monkeypatch.setattr("iadsr.pipeline.commands.tune.compare_treatments", stop)
    log = world.log()
    later = log.set_column(2, "timestamp", pc.add(log["timestamp"], 7))
    steps = [part.append_column("event", pa.repeat(name, len(part))) for part, name in ((log, "view"), (later, "buy"))]
    pq.write_table(pa.concat_tables(steps), tmp_path / "log.parquet")
    columns = InteractionColumns(behaviour="event", behaviours=("view", "buy"))
    source = LogSource(str(tmp_path / "log.parquet"), columns)
    with pytest.raises(EnoughError):
        run_tune(TuneOptions(source, world.embeddings, str(tmp_path / "policy.yaml")))
    (held_out,) = tested
    ends = held_out.log.offsets[1:]
    assert len(held_out.log.items) == len(log)
    assert (held_out.log.items[ends - 1] != held_out.log.items[ends - 2]).all()


def test_only_rules_that_are_not_the_default_are_to_be_given_again():
    assert _rules_beside(RuleOptions()) == []
    rules = RuleOptions(
        repeat_in_a_row=True, returned_column="my event", returned_values=("a", "b"), min_user_interactions=5
    )
    assert _rules_beside(rules) == [
        "The rules that it was tuned under are not part of it. Give clean the same: "
        "--repeat-in-a-row --returned-column 'my event' --returned-values a,b --min-user-interactions 5"
    ]
    (told,) = _rules_beside(RuleOptions(event_column="a\ndrop_rate: 0.9"))
    assert "\n" not in told  # it stands in a comment


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(world, tmp_path):
    options = TuneOptions(LogSource(world.interactions), world.embeddings, str(tmp_path / "none" / "policy.yaml"))
    with pytest.raises(UsageError, match="--output cannot be written"):
        run_tune(options)


def test_a_policy_with_an_unknown_option_is_refused(world, tmp_path):
    (tmp_path / "policy.yaml").write_text("drop: 0.1\n")
    with pytest.raises(InputError, match="sets an option that it cannot set"):
        clean(interactions=world.interactions, output=tmp_path / "out", policy=tmp_path / "policy.yaml")


def test_what_was_found_is_said_in_plain_words():
    tuning = Tuning(
        output="policy.yaml",
        recommender="sasrec",
        users=90,
        users_of_log=1000,
        users_sampled=100,
        seeds=3,
        candidates=(Candidate(RAW, 1.0, 0.05, 0.051), Candidate("drop 5%", 0.95, 0.06, None)),
        chosen="drop 5%",
        lift=Estimate(0.088, 0.046, 0.126),
        rejected={},
    )
    said = str(tuning)
    assert "90 users with held-out items, of a sample of 100 of 1,000 users." in said
    assert "drop 5%        95.0%       0.0600" in said
    assert "NDCG@10 +8.8% [+4.6%, +12.6%] against the log as it is (95% over users and 3 trainings): helps." in said
    assert "1 training  3 trainings\n" in said
    assert "1 training   1 training\n" in str(dataclasses.replace(tuning, seeds=1))
    nothing = str(dataclasses.replace(tuning, chosen=RAW))
    assert (
        "Nothing is better than the log as it is with some certainty: policy.yaml drops and weighs nothing." in nothing
    )
