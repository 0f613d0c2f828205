import pytest

from iadsr.models.core.errors import UsageError
from iadsr.transforms.rules.rule_options import RuleOptions


@pytest.mark.parametrize(
    "options",
    [
        {"min_value": 1.0},
        {"max_value": 1.0},
        {"returned_values": ("cancel",)},
        {"returned_column": "event"},
        {"non_item_column": "fee"},
        {"catalogue_only": True},
        {"catalogue": "items"},
        {"value_column": "rating"},
    ],
)
def test_an_option_that_needs_another_one_says_so(options):
    with pytest.raises(UsageError) as error:
        RuleOptions(**options)
    assert error.value.code == "OPTION-NEEDS"
    assert f"--{next(iter(options)).replace('_', '-')}" in error.value.what


def test_columns_are_those_that_rules_read_each_once():
    options = RuleOptions(
        event_column="e", returned_column="e", returned_values=("x",), value_column="v", min_value=1.0
    )
    assert options.columns == ("e", "v")


def test_bounds_between_which_nothing_lies_are_refused():
    RuleOptions(value_column="rating", min_value=2.0, max_value=2.0)
    with pytest.raises(UsageError) as error:
        RuleOptions(value_column="rating", min_value=2.0, max_value=1.0)
    assert error.value.code == "OPTION-BOUNDS"
    for what in ("user", "item"):
        with pytest.raises(UsageError, match=f"--min-{what}-interactions and --max-{what}-interactions"):
            RuleOptions(**{f"min_{what}_interactions": 3, f"max_{what}_interactions": 2})


def test_the_first_and_the_last_of_a_user_are_not_asked_for_together():
    with pytest.raises(UsageError) as error:
        RuleOptions(first_interactions=3, last_interactions=2)
    assert error.value.code == "OPTION-BOTH"
