import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.detector.features import SIGNS
from iadsr.models.detector.scoring import Scores
from iadsr.models.noise.share import NoShare
from iadsr.transforms.contract.columns import ROW, TIME, InteractionColumns
from iadsr.transforms.contract.output_schemas import USER_FIELDS
from iadsr.transforms.judge.drop_plan import DropPlan
from iadsr.transforms.judge.judge_shard import judge_by_rules, judge_shard
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.read.clock import Clock, time_facts
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.rules.nobody_users import NobodyUsers
from iadsr.transforms.rules.repeats import Repeats
from iadsr.transforms.rules.rule_log import LogRules, rule_shard
from iadsr.transforms.rules.rule_set import RuleSet
from iadsr.transforms.write.users import describe_users, shared_accounts, stands_out

COLUMNS = InteractionColumns()
MIDNIGHT = 1_700_006_400
"""A time at which a day begins, in seconds since 1970."""

LOG = [
    ("a", "x", MIDNIGHT - 10),
    ("a", "y", MIDNIGHT),
    ("a", "x", MIDNIGHT + 20),
    ("a", "x", MIDNIGHT + 90),
    ("b", "x", MIDNIGHT + 5),
    ("nan", "x", MIDNIGHT),
    ("nan", "y", MIDNIGHT + 86_400),
]


def described(rules: RuleSet, log=LOG, probability: list[float] | None = None, sign: int = 2) -> pa.Table:
    """The users of a log after rules, and after a threshold of 0.5 if probabilities are given. 0 is not scored."""
    users, items, times = zip(*log, strict=True)
    table = pa.table({"user_id": users, "item_id": items, "timestamp": pa.array(times)})
    table = table.append_column(TIME, table["timestamp"]).append_column(ROW, pa.array(np.arange(len(log))))
    clock, ordered = Clock.of(time_facts(table, COLUMNS)), order_interactions(table, COLUMNS)
    ruled = rule_shard(ordered, rules, COLUMNS, clock)
    if probability is None:
        judged = judge_by_rules(0, ruled, rules.codes)
    else:
        noise, rows = np.array(probability, np.float32), len(log)
        scores = Scores(noise, np.zeros((rows, 3), np.float32), noise > 0, np.full(rows, sign, np.int8), noise)
        plan = DropPlan(NoShare("too few users"), None, None, threshold=0.5)
        scored = ScoredShard(0, ruled, scores, noise > 0, np.ones(rows, bool), {})
        judged = judge_shard(scored, plan, Policy(min_length=0), rules.codes)
    return describe_users(judged, COLUMNS, LogRules(rules, clock))


def test_each_user_has_a_row_with_times_pace_and_repeats():
    users = described(RuleSet(()))
    assert users.schema.names == ["user_id", "first", "last", *(field.name for field in USER_FIELDS)]
    assert users.to_pylist()[0] == {
        "user_id": "a",
        "first": MIDNIGHT - 10,
        "last": MIDNIGHT + 90,
        "interactions": 4,
        "kept": 4,
        "span_seconds": 100.0,
        "active_days": 2,
        "interactions_per_active_day": 2.0,
        "share_of_repeats": 0.5,
        "coherence": None,
        "verdict": "kept",
        "reason": None,
    }
    assert users["span_seconds"].to_pylist() == [100.0, 0.0, 86_400.0]
    assert users["active_days"].to_pylist() == [2, 1, 2]


def test_a_user_with_several_interactions_as_if_of_somebody_else_is_named():
    log = [(user, item, MIDNIGHT + n) for user in "abc" for n, item in enumerate("vwxyz")]
    # Three of a's are dropped, two of b's, all of c's.
    probability = [0.9, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, *[0.9] * 5]
    users = described(RuleSet(()), log, probability, SIGNS.index("run"))
    assert users["reason"].to_pylist() == ["shared_account", None, "shared_account"]
    assert users["verdict"].to_pylist() == ["shortened", "shortened", "dropped"]
    assert [user["user_id"] for user in stands_out(users, 5)] == ["a", "c"]
    assert described(RuleSet(()), log, probability)["reason"].null_count == 3


def test_times_that_are_an_order_give_no_pace():
    users = described(RuleSet(()), [("a", "x", 1), ("a", "x", 2), ("b", "x", 3)])
    for column in ("span_seconds", "active_days", "interactions_per_active_day"):
        assert users[column].to_pylist() == [None, None]
    assert users["share_of_repeats"].to_pylist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("mode", "verdicts", "kept"), [("drop", ["kept", "kept", "dropped"], 0), ("count", ["kept", "kept", "suspect"], 2)]
)
def test_a_rule_about_users_names_them_and_what_became_of_them(mode, verdicts, kept):
    users = described(RuleSet((NobodyUsers(mode),)))
    assert users["reason"].to_pylist() == [None, None, "nobody"]
    assert users["verdict"].to_pylist() == verdicts
    assert users["kept"].to_pylist() == [4, 1, kept]


def test_a_rule_about_interactions_shortens_users_and_names_none():
    users = described(RuleSet((Repeats("drop", 75.0, False),)))
    assert users["reason"].to_pylist() == [None, None, None]
    assert users["verdict"].to_pylist() == ["shortened", "kept", "kept"]
    assert users["kept"].to_pylist() == [2, 1, 2]
    assert users["share_of_repeats"].to_pylist() == [0.5, 0.0, 0.0]  # of the log as it was


def test_a_suspect_of_whom_nothing_is_left_is_dropped():
    users = described(RuleSet((NobodyUsers("count"),)), probability=[0.1, 0.2, 0.3, 0.4, 0.4, 0.9, 0.9])
    assert users["verdict"].to_pylist() == ["kept", "kept", "dropped"]
    assert users["reason"].to_pylist() == [None, None, "nobody"]


def test_coherence_is_over_what_was_scored():
    users = described(RuleSet(()), probability=[0.125, 0.0, 0.375, 0.75, 0.0, 0.5, 0.25])
    assert users["coherence"].to_pylist() == [pytest.approx(1 - 1.25 / 3), None, 0.625]
    assert users["verdict"].to_pylist() == ["shortened", "kept", "shortened"]


def test_those_who_stand_out_are_named_users_with_most_interactions_first():
    log = [*LOG, ("none", "x", MIDNIGHT), ("null", "x", 1 + MIDNIGHT), ("null", "y", MIDNIGHT), ("null", "z", MIDNIGHT)]
    users = described(RuleSet((NobodyUsers("drop"),)), log)
    assert [user["user_id"] for user in stands_out(users, 2)] == ["null", "nan"]
    assert [user["interactions"] for user in stands_out(users, 9)] == [3, 2, 1]
    assert stands_out(described(RuleSet(())), 9) == []


def test_the_steps_of_one_journey_do_not_make_a_shared_account():
    users, items = np.array([0, 0, 0, 1, 1, 1]), np.array([4, 4, 4, 4, 5, 6])
    assert shared_accounts(users, 3).tolist() == [True, True, False]
    assert shared_accounts(users, 3, items).tolist() == [False, True, False]
    assert shared_accounts(users[:0], 2, items[:0]).tolist() == [False, False]
