import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError, UsageError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.behaviours import (
    MAX_BEHAVIOURS,
    behaviour_ranks,
    check_behaviours,
    count_behaviours,
    describe_behaviours,
    in_order,
)

COLUMNS = InteractionColumns(behaviour="event", behaviours=("view", "cart", "buy"))
UNORDERED = InteractionColumns(behaviour="event")


def test_the_last_of_the_order_is_the_strongest_and_others_come_after_all_of_it():
    values = pa.chunked_array([["buy", "share", "view"], [], ["cart", "like", "share"]], pa.string())
    assert behaviour_ranks(values, COLUMNS).tolist() == [0, 4, 2, 1, 3, 4]
    assert behaviour_ranks(values, UNORDERED).tolist() == [1, 4, 5, 2, 3, 4]  # none is the strongest
    assert behaviour_ranks(pa.chunked_array([], pa.string()), COLUMNS).tolist() == []


@pytest.mark.parametrize(
    "values",
    [pa.array([2, 0], pa.int8()), pa.array(["2", "0"], pa.large_string()), pa.array(["2", "0"]).dictionary_encode()],
)
def test_numbers_are_behaviours_too(values):
    columns = InteractionColumns(behaviour="event", behaviours=("0", "2"))
    assert behaviour_ranks(values, columns).tolist() == [0, 1]
    flags = InteractionColumns(behaviour="event", behaviours=("false", "true"))
    assert behaviour_ranks(pa.array([True, False]), flags).tolist() == [0, 1]


def test_behaviours_are_counted_if_the_log_has_them():
    table = pa.table({"event": ["view", "buy", "view"]})
    assert count_behaviours(table, COLUMNS) == {"view": 2, "buy": 1}
    assert count_behaviours(table, InteractionColumns()) == {}
    assert in_order({"buy": 1, "x": 1, "view": 2, "a": 1}, COLUMNS) == ["a", "x", "view", "buy"]


def test_a_column_without_any_of_the_order_or_with_too_many_values_is_refused():
    check_behaviours([{"view": 1}, {"x": 1}], COLUMNS)
    check_behaviours([{}], COLUMNS)
    with pytest.raises(InputError, match="none of the behaviours") as error:
        check_behaviours([{"View": 3}, {"Buy": 1}], COLUMNS)
    assert (error.value.code, error.value.found) == ("LOG-BEHAVIOURS", "2 different values, such as View, Buy")
    with pytest.raises(InputError, match="does not look like behaviours"):
        count_behaviours(pa.table({"event": pa.array(range(MAX_BEHAVIOURS + 1))}), UNORDERED)
    halves = [{str(n): 1 for n in range(start, start + 60)} for start in (0, 60)]
    with pytest.raises(InputError, match="does not look like behaviours"):
        check_behaviours(halves, UNORDERED)


def test_what_the_order_does_not_name_and_what_the_log_does_not_have_is_told():
    assert describe_behaviours({"view": 2, "buy": 1, "cart": 1}, COLUMNS) == []
    assert describe_behaviours({"view": 2, "cart": 1, "share": 1200, "back": 3}, COLUMNS, {"back"}) == [
        "Not named by --behaviours, and taken for weaker than all of them: share 1,200.",
        "Named by --behaviours, and not in the log: buy.",
    ]
    assert describe_behaviours({"view": 2, "buy": 1}, UNORDERED) == [
        "Behaviours without an order, so that none ends a journey: buy 1, view 2. --behaviours gives one."
    ]
    assert describe_behaviours({}, InteractionColumns()) == []


def test_a_behaviour_with_space_around_it_is_shown_in_quotes():
    assert describe_behaviours({"view": 2, " ": 5, "buy ": 1, "add to cart": 3}, UNORDERED) == [
        "Behaviours without an order, so that none ends a journey: ' ' 5, add to cart 3, 'buy ' 1, view 2. "
        "--behaviours gives one."
    ]
    with pytest.raises(InputError) as error:
        check_behaviours([{" ": 3}], COLUMNS)
    assert error.value.found == "1 different values, such as ' '"


@pytest.mark.parametrize("values", [{"behaviours": ("a",)}, {"behaviour": "x", "behaviours": ("a", "a")}])
def test_an_order_needs_a_column_and_names_each_behaviour_once(values):
    with pytest.raises(UsageError) as error:
        InteractionColumns(**values)
    assert error.value.code == "OPTION-BEHAVIOURS"
