from decimal import Decimal

from iadsr.transforms.rules.value_bounds import ValueBounds

from .conftest import found


def test_values_beyond_a_bound_are_taken_and_so_is_none_but_those_on_it_are_not(shard):
    view = shard([("u", "a", k, value) for k, value in enumerate([1.0, 2.0, 3.0, None, float("nan")])], "rating")
    assert found(ValueBounds("rating", 2), view) == [0, 3, 4]
    assert found(ValueBounds("rating", None, 2), view) == [2, 3, 4]
    assert found(ValueBounds("rating", 2, 2), view) == [0, 2, 3, 4]


def test_decimals_are_numbers(shard):
    view = shard([("u", "a", 0, Decimal("0.50")), ("u", "a", 1, Decimal("1.50"))], "rating")
    assert found(ValueBounds("rating", 1), view) == [0]
