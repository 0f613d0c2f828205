import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.detector import iadsr as model_module
from iadsr.models.detector.features import SIMILARITIES
from iadsr.transforms.contract.arrow_types import plain_type
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.schemas import check_file_schema, unify_schemas

COLUMNS = InteractionColumns()
GOOD = pa.schema([("user_id", pa.string()), ("item_id", pa.int64()), ("timestamp", pa.int64())])


def with_field(name: str, data_type: pa.DataType) -> pa.Schema:
    fields = {field.name: field for field in GOOD}
    return pa.schema([*{**fields, name: pa.field(name, data_type)}.values()])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (GOOD.remove(1), ["no column 'item_id'", "user_id, timestamp", "--item-column"]),
        (with_field("item_id", pa.float64()), ["'item_id'", "log.parquet", "double", "string or integer"]),
        (with_field("user_id", pa.list_(pa.int64())), ["'user_id'", "list", "string or integer"]),
        (with_field("timestamp", pa.bool_()), ["'timestamp'", "bool", "number (any unit)"]),
        (GOOD.append(pa.field("user_id", pa.string())), ["two columns named 'user_id'"]),
        (GOOD.append(pa.field("keep", pa.bool_())), ["'keep'", "earlier run"]),
        (GOOD.append(pa.field("__iadsr_row", pa.int64())), ["'__iadsr_row'", "rename"]),
    ],
)
def test_a_broken_contract_is_refused_with_file_column_found_and_expected(schema, words):
    with pytest.raises(InputError) as error:
        check_file_schema(schema, COLUMNS, "log.parquet")
    for word in ["log.parquet", *words]:
        assert word in str(error.value)


def test_position_must_be_there_when_named():
    with pytest.raises(InputError, match="no column 'n'"):
        check_file_schema(GOOD, InteractionColumns(position="n"), "f")


def test_dictionaries_are_decoded_and_other_types_kept():
    schema = with_field("user_id", pa.dictionary(pa.int8(), pa.large_string())).append(
        pa.field("x", pa.list_(pa.int8()))
    )
    plain = check_file_schema(schema, COLUMNS, "f")
    assert plain.field("user_id").type == pa.large_string()
    assert plain.field("x").type == pa.list_(pa.int8())


def test_integer_widths_are_promoted_and_missing_columns_added():
    first = with_field("item_id", pa.int32())
    second = GOOD.append(pa.field("rating", pa.float32()))
    merged = unify_schemas({"a": first, "b": second})
    assert merged.field("item_id").type == pa.int64()
    assert merged.names == ["user_id", "item_id", "timestamp", "rating"]


def test_a_column_that_a_file_lacks_may_be_null_whatever_the_others_say():
    strict = GOOD.append(pa.field("rating", pa.float32(), nullable=False))
    for schemas in ({"a": strict, "b": GOOD}, {"a": GOOD, "b": strict}):
        assert unify_schemas(schemas).field("rating").nullable


def test_the_file_that_brought_a_column_is_named_where_another_disagrees():
    one, two = (GOOD.append(pa.field("rating", kind)) for kind in (pa.float32(), pa.string()))
    with pytest.raises(InputError, match=r"'rating' has different types in c\.parquet and b\.parquet"):
        unify_schemas({"a.parquet": GOOD, "b.parquet": one, "c.parquet": two})


def test_an_integer_column_that_pandas_made_a_float_in_one_file_becomes_float_in_all():
    numbers = [GOOD.append(pa.field("rating", data_type)) for data_type in (pa.int64(), pa.float64())]
    merged = unify_schemas({"a": numbers[0], "b": numbers[1]})
    assert merged.field("rating").type == pa.float64()
    times = {"a": GOOD, "b": with_field("timestamp", pa.float64())}
    assert unify_schemas(times).field("timestamp").type == pa.float64()


def test_files_that_disagree_are_named_with_both_types():
    with pytest.raises(InputError) as error:
        unify_schemas({"a.parquet": GOOD, "b.parquet": with_field("item_id", pa.string())})
    for word in ("a.parquet", "b.parquet", "item_id", "string", "int64"):
        assert word in str(error.value)


def test_views_become_plain_as_dictionaries_do():
    schema = with_field("user_id", pa.string_view()).append(pa.field("raw", pa.binary_view()))
    plain = check_file_schema(schema, COLUMNS, "log.parquet")
    assert plain.field("user_id").type == pa.large_string()
    assert plain.field("raw").type == pa.large_binary()


@pytest.mark.parametrize("zones", [("UTC", None), ("UTC", "Europe/Berlin")])
def test_files_that_disagree_on_the_time_zone_are_named(zones):
    one, two = (with_field("timestamp", pa.timestamp("us", zone)) for zone in zones)
    with pytest.raises(InputError, match=r"'timestamp' has different types in b\.parquet and a\.parquet"):
        unify_schemas({"a.parquet": one, "b.parquet": two})


def test_units_of_time_are_promoted():
    schemas = {unit: with_field("timestamp", pa.timestamp(unit, "UTC")) for unit in ("ms", "ns", "us")}
    assert unify_schemas(schemas).field("timestamp").type == pa.timestamp("ns", "UTC")


def test_one_column_cannot_play_two_parts():
    with pytest.raises(InputError, match="'user_id' is named for more than one part"):
        InteractionColumns(item="user_id")


def test_similarities_have_the_names_and_the_order_of_the_model():
    assert SIMILARITIES == model_module.SIMILARITIES


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (pa.list_(pa.float32(), 2), pa.list_(pa.float32())),
        (pa.list_(pa.list_(pa.float32(), 2)), pa.list_(pa.list_(pa.float32()))),
        (pa.large_list(pa.list_(pa.int8(), 3)), pa.large_list(pa.list_(pa.int8()))),
        (pa.list_(pa.string_view()), pa.list_(pa.large_string())),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.list_(pa.string())),
        (pa.list_view(pa.string_view()), pa.list_view(pa.string_view())),
        (
            pa.struct([("a", pa.string_view()), ("b", pa.int8())]),
            pa.struct([("a", pa.large_string()), ("b", pa.int8())]),
        ),
        (pa.map_(pa.string(), pa.binary_view()), pa.map_(pa.string(), pa.large_binary())),
        (pa.fixed_shape_tensor(pa.float32(), (2,)), pa.list_(pa.float32())),
        (pa.uuid(), pa.uuid()),
        (pa.list_(pa.field("element", pa.string(), nullable=False)), pa.list_(pa.string())),
    ],
)
def test_types_become_plain_however_deep(given, carried):
    assert plain_type(given) == carried


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.large_list(pa.large_string())),
        (pa.list_(pa.field("element", pa.int32(), nullable=False)), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.struct([("a", pa.string())]), pa.struct([("a", pa.large_string())]), pa.struct([("a", pa.large_string())])),
        (pa.binary(), pa.binary_view(), pa.large_binary()),
        (
            pa.map_(pa.string(), pa.list_(pa.string())),
            pa.map_(pa.string_view(), pa.large_list(pa.string())),
            pa.map_(pa.large_string(), pa.large_list(pa.string())),
        ),
    ],
)
def test_nested_types_and_bytes_that_one_type_can_hold_are_carried_in_it(one, other, both):
    schemas = {
        name: check_file_schema(GOOD.append(pa.field("extra", type_)), COLUMNS, name)
        for name, type_ in (("a", one), ("b", other))
    }
    assert unify_schemas(schemas).field("extra").type == both
