import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.models.core.reasons import REASONS, reason_codes
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.clock import Clock, TimeFacts
from iadsr.transforms.rules.core import Core
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.rules.rule_set import check_rule_columns, make_rules
from iadsr.transforms.rules.window import Window

EVERY_RULE = RuleOptions(
    returned_column="event",
    returned_values=("cancel",),
    value_column="rating",
    min_value=2.0,
    last_interactions=5,
    min_user_interactions=2,
)


def rules(options: RuleOptions):
    return make_rules(options, "item_id", pa.string())


def test_rules_that_need_a_parameter_come_only_when_asked():
    default = ("nobody", "duplicate", "machine", "repeat", "burst", "shared_list")
    assert rules(RuleOptions()).codes == default
    codes = ("nobody", "duplicate", "machine", "repeat", "returned", "value", "burst", "window", "shared_list", "core")
    assert rules(EVERY_RULE).codes == codes


def test_every_rule_has_a_reason_and_every_reason_of_a_rule_a_rule():
    known = {reason.code for reason in REASONS if reason.rule}
    assert set(rules(EVERY_RULE).codes) | {"non_item"} == known
    assert known <= set(reason_codes("dropped"))


def test_rules_of_the_log_come_last():
    every = rules(EVERY_RULE)
    assert every.of_shard + every.of_log == tuple(range(len(every.rules)))
    known = every.knowing(np.array([7], np.uint64), np.array([9], np.uint64))
    assert known.core.items.tolist() == [9]
    assert known.rules[-2].shared.tolist() == [7]
    assert rules(RuleOptions()).core is None


def test_a_time_is_read_as_utc_unless_it_says_otherwise():
    options = RuleOptions(after="2026-01-01", before="2026-01-01T02:00:00+01:00")
    (window,) = (rule for rule in rules(options).rules if isinstance(rule, Window))
    assert (window.after, window.before) == (1_767_225_600, 1_767_225_600 + 3_600)
    with pytest.raises(UsageError, match="--after is not a date"):
        rules(RuleOptions(after="yesterday"))


def test_an_empty_window_is_refused():
    with pytest.raises(UsageError) as error:
        rules(RuleOptions(after="2026-01-02", before="2026-01-02"))
    assert error.value.code == "OPTION-BOUNDS"


def test_times_cannot_be_compared_with_an_order():
    ranks = Clock.of(TimeFacts())
    rules(RuleOptions(last_interactions=3)).check_clock(ranks)
    with pytest.raises(InputError) as error:
        rules(RuleOptions(last_days=3.0)).check_clock(ranks)
    assert error.value.code == "RULE-CLOCK"


def test_columns_of_rules_must_be_there_and_hold_numbers():
    schema = pa.schema([("rating", pa.string())])
    with pytest.raises(InputError) as error:
        check_rule_columns(RuleOptions(event_column="event"), schema, InteractionColumns())
    assert error.value.code == "RULE-COLUMN"
    with pytest.raises(InputError) as error:
        check_rule_columns(RuleOptions(value_column="rating", min_value=1.0), schema, InteractionColumns())
    assert error.value.code == "RULE-VALUE"


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        (pa.list_(pa.string()), {"event_column": "event"}, "RULE-NESTED"),
        (pa.struct([("a", pa.int8())]), {"returned_column": "event", "returned_values": ("1",)}, "RULE-NESTED"),
        (pa.month_day_nano_interval(), {"event_column": "event"}, "RULE-NESTED"),
        (pa.int8(), {"returned_column": "event", "returned_values": ("1", "cancel")}, "RULE-RETURNED"),
    ],
)
def test_columns_of_rules_must_hold_what_can_be_compared(kind, options, code):
    with pytest.raises(InputError) as error:
        check_rule_columns(RuleOptions(**options), pa.schema([("event", kind)]), InteractionColumns())
    assert error.value.code == code
    check_rule_columns(RuleOptions(**options), pa.schema([("event", pa.string())]), InteractionColumns())


def test_a_file_of_non_items_that_names_none_is_a_rule_that_finds_nothing(tmp_path):
    (tmp_path / "ids.txt").write_text("")
    assert "non_item" in rules(RuleOptions(non_items=str(tmp_path / "ids.txt"))).codes
    assert "non_item" not in rules(RuleOptions()).codes


@pytest.mark.parametrize("bound", ["min_user_interactions", "max_user_interactions", "max_item_interactions"])
def test_each_bound_of_the_core_asks_for_it(bound):
    core = rules(RuleOptions(**{bound: 1})).core
    assert getattr(core, bound) == 1


def test_the_fingerprint_depends_on_parameters_and_on_named_items(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("a\n")
    one = rules(RuleOptions(non_items=str(path)))
    path.write_text("b\n")
    other = rules(RuleOptions(non_items=str(path)))
    prints = {one.fingerprint, other.fingerprint, rules(RuleOptions()).fingerprint, rules(EVERY_RULE).fingerprint}
    assert len(prints) == 4
    assert isinstance(rules(EVERY_RULE).core, Core)


def test_an_event_that_takes_back_names_the_behaviour_if_there_are_several():
    columns = InteractionColumns(behaviour="event", behaviours=("view", "buy"))
    schema = pa.schema([("event", pa.string())])
    options = RuleOptions(returned_column="event", returned_values=("return=buy",))
    check_rule_columns(options, schema, columns)
    assert make_rules(options, "item_id", pa.string()).takes_back(columns) == {"return"}
    for values, found in ((("return",), "return"), (("return=buy", "return=view"), "return=buy and return=view")):
        with pytest.raises(InputError) as error:
            check_rule_columns(RuleOptions(returned_column="event", returned_values=values), schema, columns)
        assert (error.value.code, error.value.found) == ("RULE-TAKES-BACK", found)
