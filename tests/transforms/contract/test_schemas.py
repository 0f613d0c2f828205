import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.added_columns import AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.output_schemas import ADDED_FIELDS
from iadsr.transforms.contract.schemas import (
    check_file_schema,
    find_minority_schemas,
    refuse_taken_names,
    unify_schemas,
)

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
        (pa.schema([*GOOD, *ADDED_FIELDS]), ["earlier run", "original log"]),
        (GOOD.append(pa.field("__iadsr_row", pa.int64())), ["reserved name", "__iadsr_row", "rename"]),
    ],
)
def test_a_broken_contract_is_refused_with_file_column_found_and_expected(schema, words):
    with pytest.raises(InputError) as error:
        check_file_schema(schema, COLUMNS, "log.parquet")
    for word in ["log.parquet", *words]:
        assert word in str(error.value)


def test_a_log_may_have_columns_of_added_names_unless_it_is_to_be_cleaned_with_them():
    names = check_file_schema(GOOD.append(pa.field("weight", pa.int8())), COLUMNS, "log").names
    refuse_taken_names(names, AddedColumns(prefix="x_"), "log", scored=True)
    with pytest.raises(InputError) as error:
        refuse_taken_names([*names, "Keep"], AddedColumns(), "log", scored=True)
    assert error.value.code == "LOG-ADDED"
    assert error.value.what == "log has a column 'Keep', and cleaning adds a column 'keep'"
    assert "--added-prefix iadsr_, or one by one --added-names keep=iadsr_keep,weight=iadsr_weight" in error.value.fix


def test_a_position_column_that_is_named_must_exist():
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


def test_a_column_that_one_file_lacks_may_hold_nulls():
    strict = GOOD.append(pa.field("rating", pa.float32(), nullable=False))
    for schemas in ({"a": strict, "b": GOOD}, {"a": GOOD, "b": strict}):
        assert unify_schemas(schemas).field("rating").nullable


def test_the_first_file_with_a_column_is_named_if_another_file_has_another_type():
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


def test_views_become_plain_types():
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
def test_nested_types_and_bytes_travel_in_one_type_that_holds_both(one, other, both):
    schemas = {
        name: check_file_schema(GOOD.append(pa.field("extra", type_)), COLUMNS, name)
        for name, type_ in (("a", one), ("b", other))
    }
    assert unify_schemas(schemas).field("extra").type == both


def test_files_whose_type_fewer_rows_have_are_the_minority():
    text = GOOD.append(pa.field("rating", pa.string()))
    integers, floats = (GOOD.append(pa.field("rating", type_)) for type_ in (pa.int64(), pa.float32()))
    schemas = {"a": text, "b": integers, "c": floats, "d": GOOD, "e": GOOD.append(pa.field("rating", pa.null()))}
    minority = find_minority_schemas(schemas, {"a": 5, "b": 3, "c": 3, "d": 9, "e": 9})
    assert minority == {"a": "Column 'rating' of a has the type string, most rows of the log have another"}
    minority = find_minority_schemas(schemas, {"a": 7, "b": 3, "c": 3, "d": 9, "e": 9})
    assert list(minority) == ["b", "c"]
    assert find_minority_schemas({"b": integers, "c": floats}, {"b": 1, "c": 1}) == {}
