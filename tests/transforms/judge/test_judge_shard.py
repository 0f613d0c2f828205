import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.recalibration import Recalibration
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.models.noise.weights import weigh_interactions
from iadsr.transforms.judge.drop_plan import BehaviourOdds, DropPlan
from iadsr.transforms.judge.judge_shard import judge_shard
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.read.ordering import OrderedShard
from iadsr.transforms.rules.ruled_shard import RuledShard

PROBABILITY = np.array([0.1, 0.6, 0.9, 0.0, 0.7], np.float32)
SCORED = np.array([True, True, True, False, True])


@pytest.fixture
def scored() -> ScoredShard:
    table = pa.table({"user_id": ["a", "a", "a", "b", "c"], "item_id": list("vwxyz"), "timestamp": [1, 2, 3, 1, 1]})
    ordered = OrderedShard(
        table,
        np.array([0, 3, 4, 5]),
        pa.array(list("vwxyz")),
        np.arange(5, dtype=np.int32),
        np.arange(5),
        table["timestamp"].to_numpy(),
    )
    scores = Scores(PROBABILITY, np.zeros((5, 3), np.float32), SCORED, np.array([0, 1, 2, 0, 0], np.int8), PROBABILITY)
    return ScoredShard(4, RuledShard.untouched(ordered), scores, np.ones(5, bool), np.ones(5, bool), {"score": 0.5})


def test_a_shard_is_judged_by_the_probabilities_of_the_log(scored):
    recalibration = Recalibration(scale=1.0, shift=-1.0)
    plan = DropPlan(NoiseShare(0.2, 0.1, 0.3, (0.2, 0.2)), recalibration, None, threshold=0.4)
    judged = judge_shard(scored, plan, Policy(min_length=1))
    odds = np.log(PROBABILITY[SCORED] / (1 - PROBABILITY[SCORED])) - 1
    expected = np.zeros(5)
    expected[SCORED] = 1 / (1 + np.exp(-odds))
    probability = judged.scores.noise_probability
    assert probability == pytest.approx(expected, abs=1e-5)
    assert judged.decisions.keep.tolist() == [True, True, False, True, True]  # 0.04, 0.36, 0.77, not scored, 0.46
    assert judged.decisions.reason.to_pylist()[1:] == ["weightless", "noise:short_term", "too_short", "min_length"]
    # What it weighs follows from the model's own probabilities, and what is dropped weighs nothing.
    assert judged.weight == pytest.approx([0.6, 0, 0, 1, 0])
    assert judged.weight.tolist() == weigh_interactions(PROBABILITY, SCORED).tolist()
    assert judged.ruled is scored.ruled
    assert (judged.shard, judged.seconds) == (4, {"score": 0.5})
    assert scored.scores.noise_probability is PROBABILITY


def test_while_the_share_is_not_known_probabilities_stay_and_what_is_kept_counts_in_full(scored):
    judged = judge_shard(scored, DropPlan(NoShare("too few users"), None, None, threshold=0.65), Policy())
    assert (judged.ruled, judged.scores) == (scored.ruled, scored.scores)
    assert judged.decisions.keep.tolist() == [True, True, False, True, True]
    assert judged.weight.tolist() == [1, 1, 0, 1, 1]
    assert judged.weight.dtype == np.float32


def test_if_no_noise_is_certain_weights_still_help(scored):
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    judged = judge_shard(scored, DropPlan(share, None, None, threshold=2.0), Policy())
    assert judged.decisions.keep.all()
    assert judged.weight == pytest.approx([0.6, 0, 0, 1, 0])


def test_what_weighs_nothing_is_kept_with_a_reason_or_dropped_if_asked_for(scored):
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    judged = judge_shard(scored, DropPlan(share, None, None, threshold=2.0), Policy(min_length=0))
    assert judged.decisions.reason.to_pylist() == [None, "weightless", "weightless", "too_short", "weightless"]
    policy = Policy(drop_rate="weightless", min_length=0)
    recalibration = Recalibration(scale=1.0, shift=-1.0)
    for plan in (DropPlan(share, None, None, 0.25), DropPlan(share, recalibration, None, 0.25)):
        judged = judge_shard(scored, plan, policy)
        assert judged.decisions.keep.tolist() == [True, False, False, True, False]
        assert (judged.weight > 0).tolist() == judged.decisions.keep.tolist()


def test_weights_follow_from_the_probability_of_a_stray_and_decisions_from_that_of_noise(scored):
    stray = np.array([0.2, 0.5, 0.1, 0, 0.9], np.float32)
    scored = dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, stray_probability=stray))
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    judged = judge_shard(scored, DropPlan(share, None, None, threshold=0.65), Policy(min_length=0))
    assert judged.decisions.keep.tolist() == [True, True, False, True, False]
    assert judged.weight == pytest.approx([0.2, 0, 0, 1, 0])
    judged = judge_shard(scored, DropPlan(share, None, None, 0.25), Policy(drop_rate="weightless", min_length=0))
    assert judged.decisions.keep.tolist() == [True, False, True, True, False]
    assert judged.weight == pytest.approx([0.2, 0, 0.6, 1, 0])
    assert judged.scores is scored.scores


def test_a_strength_and_a_minimum_of_the_weights_are_kept_to(scored):
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    plan = DropPlan(share, None, None, threshold=2.0)
    judged = judge_shard(scored, plan, Policy(weight_strength=1.0, min_weight=0.2))
    assert judged.weight == pytest.approx([0.9, 0.4, 0.2, 1, 0.3])


def test_the_last_interactions_that_are_protected_count_in_full(scored):
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    judged = judge_shard(scored, DropPlan(share, None, None, threshold=0.5), Policy(min_length=0, keep_last=1))
    assert judged.decisions.keep.tolist() == [True, False, True, True, True]
    assert judged.weight == pytest.approx([0.6, 0, 1, 1, 1])


def test_what_a_rule_takes_weighs_nothing_and_is_none_of_the_last(scored):
    ruled = RuledShard(scored.ordered, np.array([-1, -1, 0, -1, -1], np.int8), np.zeros(5, np.uint16))
    share = NoiseShare(0.02, 0.0, 0.1, (0.0, 0.0))
    plan = DropPlan(share, None, None, threshold=0.5)
    judged = judge_shard(dataclasses.replace(scored, ruled=ruled), plan, Policy(keep_last=1), ("machine",))
    assert judged.decisions.reason.to_pylist()[:3] == [None, "keep_last", "machine"]
    assert judged.weight == pytest.approx([0.6, 1, 0, 1, 1])


def test_the_odds_of_a_behaviour_move_probabilities_and_weights_of_its_journeys(scored):
    ordered = scored.ordered._replace(behaviours=np.array([1, 0, 1, 2, 1], np.int32))
    scored = dataclasses.replace(scored, ruled=RuledShard.untouched(ordered))
    share = NoiseShare(0.2, 0.1, 0.3, (0.2, 0.2))
    odds = tuple(BehaviourOdds(share, shift) for shift in (-1.0, 0.5, 0.0))
    plain = DropPlan(share, Recalibration(scale=1.0, shift=-1.0), None, threshold=0.9)
    judged = judge_shard(scored, dataclasses.replace(plain, by_behaviour=odds), Policy())
    shift = np.array([0.5, -1.0, 0.5, 0.0, 0.5])[SCORED]

    def moved(by: np.ndarray) -> np.ndarray:
        given = PROBABILITY[SCORED]
        return 1 / (1 + np.exp(-(np.log(given / (1 - given)) + by)))

    assert judged.scores.noise_probability[SCORED] == pytest.approx(moved(shift - 1), abs=1e-5)
    assert judged.weight[SCORED] == pytest.approx(np.maximum(1 - 4 * moved(shift), 0), abs=1e-5)
    assert judge_shard(scored, plain, Policy()).weight[0] == pytest.approx(0.6)
