import pytest

from iadsr.models.core.errors import UsageError
from iadsr.transforms.contract.added_columns import ADDED_COLUMNS, AddedColumns, is_cleaned
from iadsr.transforms.contract.output_schemas import ADDED_FIELDS, added_fields


def test_every_added_column_has_a_type_and_by_default_its_own_name():
    assert tuple(field.name for field in ADDED_FIELDS) == ADDED_COLUMNS
    written = AddedColumns().written(scored=True, split=True)
    assert written == {column: column for column in ADDED_COLUMNS}
    assert added_fields(written) == ADDED_FIELDS
    assert list(AddedColumns().written(scored=False)) == ["keep", "reason", "weight"]


def test_a_prefix_renames_all_columns_but_those_that_are_named_one_by_one():
    written = AddedColumns(prefix="x_", names=("weight=w", "keep = is=kept")).written(scored=True, split=True)
    assert list(written) == list(ADDED_COLUMNS)
    assert (written["weight"], written["keep"], written["reason"]) == ("w", "is=kept", "x_reason")
    fields = added_fields(AddedColumns(prefix="x_").written(scored=True, split=True))
    assert [field.name for field in fields] == [f"x_{column}" for column in ADDED_COLUMNS]
    assert [field.type for field in fields] == [field.type for field in ADDED_FIELDS]
    assert [field.nullable for field in fields] == [field.nullable for field in ADDED_FIELDS]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"names": ("weights=w",)}, "'weights', which is not a column that cleaning adds"),
        ({"names": ("weight",)}, "the name ''"),
        ({"names": ("weight=",)}, "the name ''"),
        ({"names": ("weight=a", "weight=b")}, "two names for weight"),
        ({"names": ("weight=reason",)}, "two columns named 'reason', or the same but for case"),
        ({"names": ("weight=Reason",)}, "two columns named 'reason', or the same but for case"),
        ({"names": ("weight=__iadsr_w",)}, "'__iadsr_w', which starts with the reserved __iadsr_"),
        ({"prefix": "__iadsr_"}, "'__iadsr_noise_probability', which starts with the reserved __iadsr_"),
        ({"prefix": "\udc80"}, "the name '\\udc80noise_probability'"),
    ],
)
def test_names_that_cannot_be_written_or_told_apart_are_refused(settings, found):
    with pytest.raises(UsageError) as error:
        AddedColumns(**settings)
    assert error.value.code == "OPTION-ADDED"
    assert error.value.found == found


def test_names_may_be_exchanged():
    written = AddedColumns(names=("weight=keep", "keep=weight")).written(scored=True)
    assert (written["weight"], written["keep"]) == ("keep", "weight")


@pytest.mark.parametrize(
    ("added", "taken"),
    [
        (AddedColumns(), {"keep": "Keep", "weight": "weight"}),
        (AddedColumns(prefix="x_"), {"reason": "X_REASON"}),
        (AddedColumns(names=("weight=w", "keep=k")), {}),
    ],
)
def test_columns_of_a_log_with_an_added_name_are_found_whatever_their_case(added, taken):
    assert added.taken(["user_id", "weight", "Keep", "X_REASON"], scored=True) == taken


def test_without_a_model_fewer_columns_are_added_and_fewer_names_are_taken():
    added = AddedColumns(prefix="x_", names=("weight=w",))
    assert added.written(scored=False) == {"keep": "x_keep", "reason": "x_reason", "weight": "w"}
    assert [field.name for field in added_fields(added.written(scored=False))] == ["x_keep", "x_reason", "w"]
    assert AddedColumns().taken(["noise_probability"], scored=False) == {}
    assert AddedColumns().taken(["noise_probability"], scored=True) == {"noise_probability": "noise_probability"}


@pytest.mark.parametrize(
    "added", [AddedColumns(), AddedColumns(prefix="old_"), AddedColumns(prefix="old_", names=("weight=w", "keep=k"))]
)
def test_an_earlier_output_is_known_whatever_its_prefix(added):
    written = list(added.written(scored=True).values())
    assert is_cleaned(["user_id", "noise_probability", *written])
    assert not is_cleaned(["user_id", *written[1:]])
    assert not is_cleaned(["user_id", "noise_probability", *written[:-1]])


def test_a_log_with_a_weight_and_a_probability_of_its_own_is_a_log():
    assert not is_cleaned(["user_id", "weight", "keep", "reason", "noise_probability"])
