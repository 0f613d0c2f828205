import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.reasons import reason_codes
from iadsr.models.detector.features import SIGNS
from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.transforms.contract.columns import ROW, TIME, InteractionColumns
from iadsr.transforms.files.tables import WrittenFile
from iadsr.transforms.items.item_counts import ItemCounts
from iadsr.transforms.judge.drop_plan import DropPlan
from iadsr.transforms.judge.judge_shard import judge_shard
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.read.clock import Clock, TimeFacts
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.read.read_splits import row_checksum
from iadsr.transforms.rules.bursts import Bursts
from iadsr.transforms.rules.nobody_users import NobodyUsers
from iadsr.transforms.rules.rule_log import LogRules
from iadsr.transforms.rules.rule_set import RuleSet
from iadsr.transforms.rules.ruled_shard import RuledShard
from iadsr.transforms.write.example_users import ExampleUser
from iadsr.transforms.write.lookalike_users import id_forms
from iadsr.transforms.write.summary import (
    HISTOGRAM_BINS,
    STANDING_OUT,
    MergeSummaries,
    Summary,
    _length_histogram,
    length_labels,
    merge_summaries,
    summarise,
)
from iadsr.transforms.write.users import describe_users

COLUMNS = InteractionColumns()
WRITTEN = [WrittenFile("interactions/part-0", 6, 1, "ab")]


def shard() -> ScoredShard:
    """User a with items x, y, x, z and user b with y, y; z is not known to the model."""
    table = pa.table(
        {
            "user_id": ["a", "a", "b", "a", "b", "a"],
            "item_id": ["x", "y", "y", "x", "y", "z"],
            "timestamp": pa.array([1, 2, 1, 3, 2, 4]),
        }
    )
    table = table.append_column(TIME, table["timestamp"]).append_column(ROW, pa.array(np.arange(6)))
    ordered = order_interactions(table, COLUMNS)
    owners = ordered.user_ids(COLUMNS).to_pylist()
    probability = {"a": [0.05, 0.9, 0.3, 0.0], "b": [0.7, 0.6]}
    scores = Scores(
        noise_probability=np.array([p for user in dict.fromkeys(owners) for p in probability[user]], np.float32),
        similarities=np.zeros((6, 3), np.float32),
        scored=np.array([item != "z" for item in ordered.item_ids.take(pa.array(ordered.items)).to_pylist()]),
        sign=np.full(6, 2, np.int8),
        stray_probability=np.array([p for user in dict.fromkeys(owners) for p in probability[user]], np.float32),
    )
    return ScoredShard(0, RuledShard.untouched(ordered), scores, scores.scored.copy(), np.ones(6, bool), {"score": 1.0})


@pytest.fixture
def summary() -> Summary:
    return summarised(shard(), RuleSet(()))


def summarised(scored: ScoredShard, rules: RuleSet, share: NoiseShare | None = None) -> Summary:
    plan = DropPlan(share or NoShare("too few users"), None, None, threshold=0.5)
    judged = judge_shard(scored, plan, Policy(), rules.codes)
    users = describe_users(judged, COLUMNS, LogRules(rules, Clock.of(TimeFacts())))
    counts = ItemCounts(pa.array(["x", "y", "z"]), np.array([2, 3, 1]), np.array([2, 3]))  # x and z in one bucket
    return summarise(judged, users, COLUMNS, counts, np.array([0, 3]), rules, WRITTEN)


def test_interactions_are_counted_by_reason(summary):
    # b would lose both interactions, and keeps the less noisy one.
    assert +summary.reasons == {"noise:short_term": 2, "min_length": 1, "unknown_item": 1}
    assert set(summary.reasons) == {*reason_codes("dropped"), *reason_codes("kept")}
    assert (summary.kept, summary.dropped) == (4, 2)


def test_what_is_kept_and_weighs_nothing_is_counted_whatever_its_reason(summary):
    assert summary.weightless == 0  # without a share of noise, all that is kept counts in full
    weighed = summarised(shard(), RuleSet(()), NoiseShare(0.2, 0.1, 0.3, (0.2, 0.2)))
    # a's third interaction, of probability 0.3, and the one that b keeps by --min-length.
    assert +weighed.reasons == {"noise:short_term": 2, "weightless": 1, "min_length": 1, "unknown_item": 1}
    assert weighed.weightless == 2
    assert merge_summaries([weighed, weighed]).weightless == 4


def test_users_who_are_named_as_shared_accounts_are_counted(summary):
    assert summary.shared_accounts == 0
    likely = np.where(shard().scores.scored, np.float32(0.9), np.float32(0))
    scores = dataclasses.replace(shard().scores, noise_probability=likely, sign=np.full(6, SIGNS.index("run"), np.int8))
    found = summarised(dataclasses.replace(shard(), scores=scores), RuleSet(()))
    # Of a, three are dropped as if of somebody else; of b one, as the other one is protected.
    assert +found.reasons == {"noise:run": 4, "min_length": 1, "unknown_item": 1}
    assert found.shared_accounts == 1
    assert merge_summaries([found, found]).shared_accounts == 2


def test_users_items_and_files_are_counted(summary):
    assert summary.users.tolist() == [2, 2, 0]
    assert summary.popularity.tolist() == [[3, 3], [0, 2]]
    assert summary.genuine == pytest.approx(np.array([[0.95 + 0.7 + 1, 0.1 + 0.3 + 0.4], [0, 0.1 + 0.3]]), abs=1e-6)
    assert summary.files.tolist() == [[1, 3], [2, 0]]
    assert dict(zip(length_labels(), summary.lengths[0].tolist(), strict=True))["3-4"] == 1
    assert summary.lengths[0, :4].tolist() == [0, 0, 1, 1]
    assert summary.lengths[1, :4].tolist() == [0, 1, 0, 1]
    assert summary.checksum == row_checksum(pa.array(np.arange(6)))
    assert (summary.written, summary.seconds) == (WRITTEN, {"score": 1.0})
    assert (summary.found.shape, summary.standing_out) == ((2, 0), [])


def test_what_a_rule_takes_is_dropped_and_counted_and_in_no_figure_of_scores():
    scored, rules = shard(), RuleSet((NobodyUsers("drop"), Bursts("count")))
    of_a = scored.ordered.users == scored.ordered.user_ids(COLUMNS).to_pylist().index("a")
    # Rule 0 takes all of a, and rule 1 counts the second interaction of each user.
    second = (np.arange(6) == scored.ordered.offsets[scored.ordered.users] + 1).astype(np.uint16)
    ruled = RuledShard(scored.ordered, np.where(of_a, 0, -1).astype(np.int8), second << 1)
    summary = summarised(dataclasses.replace(scored, ruled=ruled), rules)
    assert +summary.reasons == {"nobody": 4, "noise:short_term": 1, "min_length": 1}
    assert (summary.kept, summary.dropped) == (1, 5)
    assert summary.users.tolist() == [2, 2, 1]
    assert summary.found.tolist() == [[4, 2], [1, 2]]
    assert summary.histogram.sum() == 2
    assert summary.popularity.tolist() == [[0, 2], [0, 1]]
    assert summary.genuine == pytest.approx(np.array([[0, 0.3 + 0.4], [0, 0.3]]), abs=1e-6)
    assert [(user["user_id"], user["reason"]) for user in summary.standing_out] == [("a", "nobody")]


def test_the_histogram_holds_what_was_judged_and_nothing_else(summary):
    kept, dropped = summary.histogram
    assert summary.histogram.sum() == 5
    assert {place: int(kept[place]) for place in np.flatnonzero(kept)} == {2: 1, 15: 1, 30: 1}
    assert {place: int(dropped[place]) for place in np.flatnonzero(dropped)} == {35: 1, 45: 1}
    assert len(kept) == HISTOGRAM_BINS


def test_examples_name_the_reason_of_each_interaction(summary):
    reasons = {example.user_id: [entry["reason"] for entry in example.interactions] for example in summary.examples}
    assert reasons == {"a": [None, "noise:short_term", None, "unknown_item"], "b": ["noise:short_term", "min_length"]}


def part(kept: tuple[int, int], dropped: tuple[int, int]) -> Summary:
    """A shard with interactions kept and dropped in each of two files."""
    empty = np.zeros((2, 1), int)
    return Summary(
        Counter({"noise:short_term": sum(dropped)}),
        sum(kept),
        np.array([1, 1, 0]),
        *(empty, empty, empty, empty),
        seconds={"score": 1.0},
        examples=[],
        files=np.array([kept, dropped]),
        checksum=2**64 - 1,
        written=WRITTEN,
        found=np.array([[sum(dropped), 0], [1, 0]]),
        id_forms=id_forms(pa.array([], pa.string())),
        standing_out=[],
    )


def example(key: tuple[bool, int], user_id: str) -> ExampleUser:
    return ExampleUser(key, user_id, pa.nulls(0), [])


def test_summaries_add_up_and_keep_the_first_examples():
    first, second = part((1, 0), (2, 0)), part((0, 3), (3, 1))
    first.standing_out.extend({"user_id": n, "interactions": n % 25} for n in range(STANDING_OUT))
    second.standing_out.extend({"user_id": n, "interactions": n % 25} for n in range(20, 20 + STANDING_OUT))
    first.examples.extend([example((False, 5), "x"), example((True, 0), "long")])
    second.examples.extend([example((False, n), str(n)) for n in range(9)])
    merged = merge_summaries([first, second])
    assert merged.files.tolist() == [[1, 3], [5, 1]]
    assert (merged.kept, merged.dropped, merged.seconds) == (4, 6, {"score": 2.0})
    assert merged.reasons == {"noise:short_term": 6}
    assert merged.checksum == 2**64 - 2
    assert merged.written == [*WRITTEN, *WRITTEN]
    assert merged.found.tolist() == [[6, 0], [2, 0]]
    assert [user["user_id"] for user in merged.standing_out[:4]] == [24, 23, 22, 21]
    assert len(merged.standing_out) == STANDING_OUT
    assert [example.user_id for example in merged.examples] == [*"01234", "x", *"5678"]


def test_summaries_add_up_in_any_grouping():
    parts = [part((n, 0), (1, n)) for n in range(4)]
    combine = MergeSummaries()
    left, right = combine.create_accumulator(), combine.create_accumulator()
    for number, summary in enumerate(parts):
        if number % 2:
            left = combine.add_input(left, summary)
        else:
            right = combine.add_input(right, summary)
    merged = combine.extract_output(combine.merge_accumulators([left, right, combine.create_accumulator()]))
    assert merged.reasons == merge_summaries(parts).reasons == {"noise:short_term": 10}
    assert merged.files.tolist() == [[6, 0], [4, 6]]


@pytest.mark.parametrize(
    ("length", "label"), [(0, "0"), (1, "1"), (2, "2"), (3, "3-4"), (4, "3-4"), (5, "5-8"), (8, "5-8")]
)
def test_lengths_are_counted_in_powers_of_two(length, label):
    counts = _length_histogram(np.array([length]))
    assert dict(zip(length_labels(), counts.tolist(), strict=True))[label] == 1
    assert counts.sum() == 1
