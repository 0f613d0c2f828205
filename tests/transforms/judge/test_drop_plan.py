import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.popularity import bucket_edges
from iadsr.models.noise.score_counts import BINS, GROUPS, PLACES, count_by_group, count_scores
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.item_counts import ItemCounts
from iadsr.transforms.judge.drop_plan import behaviour_odds, plan_drops
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.judge.tally import Tally, merge_tallies, tally_shard
from iadsr.transforms.judge.threshold import NOTHING, probability_histogram
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.rules.ruled_shard import RuledShard

BUCKETS = 6


def draw(generator, rows, mean):
    return (1 / (1 + np.exp(-generator.normal(mean, 1, rows)))).astype(np.float32)


REFERENCE = count_scores(
    draw(np.random.default_rng(0), 5000, 1.5),
    np.random.default_rng(2).integers(0, PLACES, 5000),
    np.random.default_rng(1).integers(0, BUCKETS, 5000),
    BUCKETS,
)


def make_tally(share: float, rows: int = 20_000) -> Tally:
    """A log in which a tenth of the interactions could not be judged."""
    generator = np.random.default_rng(2)
    bucket, scored = generator.integers(0, BUCKETS, rows), generator.random(rows) < 0.9
    noise = generator.random(rows) < share
    probability = np.where(noise, draw(generator, rows, 1.5), draw(generator, rows, -2.0)) * scored
    group, place = generator.integers(0, GROUPS, rows), generator.integers(0, PLACES, rows)
    counts = count_by_group(probability[scored], group[scored], place[scored], bucket[scored], BUCKETS)
    histogram = probability_histogram(probability.astype(np.float32), scored)
    return Tally(histogram, counts)


def test_auto_drops_what_the_log_surely_holds():
    plan = plan_drops(make_tally(0.1), Policy(), REFERENCE)
    assert isinstance(plan.share, NoiseShare)
    assert plan.share.estimate == pytest.approx(0.1, abs=0.02)
    assert plan.drop_rate == pytest.approx(plan.share.lower * 0.9, rel=0.02)
    assert plan.recalibration is not None
    assert plan.threshold < 1


def test_weightless_drops_from_the_probability_on_at_which_nothing_is_left_of_the_weight():
    policy = Policy(drop_rate="weightless", weight_strength=5.0)
    plan = plan_drops(make_tally(0.1), policy, REFERENCE)
    assert plan.recalibration is not None
    assert plan.threshold == 0.2  # of a stray, as the model gives it
    assert plan.drop_rate is None
    unknown = plan_drops(make_tally(0.1), policy, np.zeros_like(REFERENCE))
    assert isinstance(unknown.share, NoShare)
    assert unknown.threshold == NOTHING


def test_auto_drops_next_to_nothing_from_a_clean_log():
    plan = plan_drops(make_tally(0.0), Policy(), REFERENCE)
    assert plan.drop_rate is not None
    assert plan.drop_rate < 0.003


def test_without_a_share_auto_drops_nothing_and_a_rate_still_does():
    nothing = plan_drops(make_tally(0.1), Policy(), np.zeros((PLACES, BUCKETS, BINS)))
    assert isinstance(nothing.share, NoShare)
    assert (nothing.drop_rate, nothing.recalibration) == (0.0, None)
    assert nothing.threshold == NOTHING
    by_hand = plan_drops(make_tally(0.1), Policy(drop_rate=0.1), np.zeros((PLACES, BUCKETS, BINS)))
    assert by_hand.drop_rate == 0.1
    assert by_hand.threshold < 1


def test_a_log_of_which_rules_leave_nothing_has_a_rate_all_the_same():
    plan = plan_drops(make_tally(0.1, rows=0), Policy(), REFERENCE)
    assert isinstance(plan.share, NoShare)
    assert (plan.drop_rate, plan.threshold) == (0.0, NOTHING)


def test_a_threshold_needs_no_rate():
    plan = plan_drops(make_tally(0.1), Policy(threshold=0.7), REFERENCE)
    assert plan.drop_rate is None
    assert plan.threshold == 0.7


ITEMS = ItemCounts(pa.array(["a", "b", "c"]), np.array([1, 3, 9]), bucket_edges(np.array([1, 3, 9])))


def shard(users: list[tuple[str, list[tuple[int, float]]]]) -> ScoredShard:
    rows = [(user, item, probability) for user, interactions in users for item, probability in interactions]
    probability = np.array([p for *_, p in rows], np.float32)
    table = pa.table({"user_id": pa.array([user for user, *_ in rows], pa.string())})
    offsets = np.append(0, np.cumsum([len(interactions) for _, interactions in users])).astype(np.int64)
    items = np.array([item for _, item, _ in rows], np.int32)
    n = len(rows)
    scores = Scores(probability, np.zeros((n, 3), np.float32), probability > 0, np.zeros(n, np.int8), probability)
    known = np.ones(n, bool)
    ordered = OrderedShard(table, offsets, ITEMS.item_ids, items, np.arange(n), np.arange(n))
    return ScoredShard(0, RuledShard.untouched(ordered), scores, known, known, {})


interactions = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1, width=32)), min_size=1, max_size=5)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=3), interactions, min_size=2, max_size=8), st.integers(1, 7))
def test_shards_add_up_to_the_whole_however_users_are_dealt(users, cut):
    drawn = list(users.items())
    columns = InteractionColumns()
    parts = [part for part in (drawn[cut:], drawn[:cut]) if part]
    whole = tally_shard(shard(drawn), columns, ITEMS)
    merged = merge_tallies([tally_shard(shard(part), columns, ITEMS) for part in parts])
    assert (merged.counts == whole.counts).all()
    for name in ("bins", "counts"):
        assert getattr(merged.histogram, name).tolist() == getattr(whole.histogram, name).tolist()
    assert merged.histogram.rows == whole.histogram.rows == sum(map(len, users.values()))
    assert whole.counts.sum() == whole.histogram.counts.sum()


def test_a_user_is_in_one_group_and_users_are_spread_over_all():
    columns = InteractionColumns()
    one = tally_shard(shard([("u", [(0, 0.2), (1, 0.7), (2, 0.1)])]), columns, ITEMS)
    assert (one.counts.sum((1, 2, 3)) > 0).sum() == 1
    assert one.counts.sum((0, 2, 3)).tolist() == [1, 2]  # before the end of the sequence, and at it
    many = tally_shard(shard([(f"user-{n}", [(0, 0.5)]) for n in range(2000)]), columns, ITEMS)
    assert many.counts.sum((1, 2, 3)).min() > 30


def test_where_no_noise_is_certain_probabilities_stay_as_the_model_gives_them():
    uncertain = plan_drops(make_tally(0.0, rows=3_000), Policy(), REFERENCE)
    assert isinstance(uncertain.share, NoiseShare)
    assert uncertain.share.lower == 0
    assert (uncertain.recalibration, uncertain.drop_rate) == (None, 0.0)


def test_odds_move_only_as_far_as_a_behaviour_certainly_differs():
    log = NoiseShare(0.1, 0.08, 0.12, (0.1,))
    assert behaviour_odds(log, NoShare("too few users")).shift == 0
    assert behaviour_odds(log, NoiseShare(0.2, 0.09, 0.3, (0.2,))).shift == 0
    higher = behaviour_odds(log, NoiseShare(0.3, 0.2, 0.4, (0.3,)))
    assert higher.shift == pytest.approx(np.log((0.2 / 0.8) / (0.1 / 0.9)))
    assert higher.share.estimate == 0.3
    assert behaviour_odds(log, NoiseShare(0.0, 0.0, 0.0, (0.0,))).shift == pytest.approx(-np.log(10))


def test_the_behaviour_with_more_noise_loses_more_and_the_rate_is_that_of_the_whole_log():
    much, little = make_tally(0.2), make_tally(0.02)
    whole = merge_tallies([much, little])
    plan = plan_drops(dataclasses.replace(whole, by_behaviour=(little, much)), Policy(), REFERENCE)
    plain = plan_drops(whole, Policy(), REFERENCE)
    assert (plan.share, plan.drop_rate) == (plain.share, plain.drop_rate)
    assert plain.by_behaviour == ()
    weak, strong = plan.by_behaviour[1], plan.by_behaviour[0]
    assert strong.shift < 0 < weak.shift
    assert [each.scale for each in plan.recalibrations()] == [plan.recalibration.scale] * 2
    unknown = plan_drops(dataclasses.replace(whole, by_behaviour=(little, much)), Policy(), np.zeros_like(REFERENCE))
    assert unknown.by_behaviour == ()


def test_a_shard_is_tallied_by_the_strongest_behaviour_of_its_journeys():
    columns = InteractionColumns(behaviour="event", behaviours=("view", "buy"))
    scored = shard([("u", [(0, 0.25), (1, 0.5), (0, 0.25), (2, 0.75)]), ("v", [(1, 0.5)])])
    ordered = scored.ordered._replace(behaviours=np.array([1, 1, 0, 2, 1], np.int32))  # view, view, buy, other, view
    scored = dataclasses.replace(scored, ruled=RuledShard.untouched(ordered))
    tally = tally_shard(scored, columns, ITEMS)
    assert [part.histogram.counts.sum() for part in tally.by_behaviour] == [2, 2, 1]
    assert (np.sum([part.counts for part in tally.by_behaviour], axis=0) == tally.counts).all()
    merged = merge_tallies([tally, tally])
    assert [part.histogram.counts.sum() for part in merged.by_behaviour] == [4, 4, 2]
    assert tally_shard(scored, InteractionColumns(behaviour="event"), ITEMS).by_behaviour == ()
