import pyarrow as pa
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.added_columns import AddedColumns
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.output_schemas import ADDED_FIELDS
from iadsr.transforms.contract.schemas import (
    check_file_schema,
    describe_schemas,
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
        (with_field("item_id", pa.bool_()), ["'item_id'", "log.parquet", "bool", "string or integer"]),
        (with_field("item_id", pa.decimal128(9, 2)), ["'item_id'", "decimal128(9, 2)", "string or integer"]),
        (with_field("user_id", pa.list_(pa.int64())), ["'user_id'", "list", "string or integer"]),
        (with_field("timestamp", pa.decimal128(20, 9)), ["'timestamp'", "decimal128(20, 9)", "number (any unit)"]),
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


@pytest.mark.parametrize("kind", [pa.string(), pa.int8(), pa.bool_(), pa.null(), pa.dictionary(pa.int8(), pa.string())])
def test_a_column_of_behaviours_holds_text_integers_or_flags(kind):
    columns = InteractionColumns(behaviour="event")
    with pytest.raises(InputError, match="no column 'event'"):
        check_file_schema(GOOD, columns, "f")
    check_file_schema(GOOD.append(pa.field("event", kind)), columns, "f")
    for other in (pa.float64(), pa.list_(pa.string()), pa.timestamp("s")):
        with pytest.raises(InputError) as error:
            check_file_schema(GOOD.append(pa.field("event", other)), columns, "f")
        assert error.value.code == "LOG-TYPE"


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


def test_a_zone_other_than_utc_beside_none_is_refused_unless_the_zone_of_those_without_is_named():
    schemas = {f"{zone}.parquet": with_field("timestamp", pa.timestamp("us", zone)) for zone in ("Europe/Berlin", None)}
    with pytest.raises(
        InputError, match=r"'timestamp' has different types in None\.parquet and Europe/Berlin\.parquet"
    ):
        unify_schemas(schemas)
    columns = InteractionColumns(timezone="Europe/Berlin")
    assert unify_schemas(schemas, columns).field("timestamp").type == pa.timestamp("us", "UTC")
    assert describe_schemas(schemas, columns) == [
        "timestamp has a time zone in 1 of 2 files; in the others it is read as Europe/Berlin."
    ]


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


def test_a_column_that_no_type_can_hold_can_be_left_out():
    one, two = (GOOD.append(pa.field("tags", kind)) for kind in (pa.list_(pa.string()), pa.string()))
    with pytest.raises(InputError, match="LOG-MIXED") as error:
        unify_schemas({"a": one, "b": two})
    assert "--columns=-tags" in error.value.fix
    for carried in (("-tags",), ("user_id",), ()):
        columns = InteractionColumns(carried=carried)
        schemas = {"a": check_file_schema(one, columns, "a"), "b": check_file_schema(two, columns, "b")}
        assert unify_schemas(schemas, columns).names == GOOD.names


def test_only_the_columns_that_are_named_are_carried():
    schema = GOOD.append(pa.field("a", pa.int8())).append(pa.field("b", pa.int8())).append(pa.field("b", pa.int16()))
    assert check_file_schema(schema, InteractionColumns(carried=("a",)), "f").names == [*GOOD.names, "a"]
    assert check_file_schema(schema, InteractionColumns(carried=("-b",)), "f").names == [*GOOD.names, "a"]
    with pytest.raises(InputError, match="LOG-DOUBLED"):
        check_file_schema(schema, COLUMNS, "f")


def test_a_column_to_carry_that_no_file_has_is_refused_and_names_with_and_without_minus_do_not_mix():
    with pytest.raises(InputError, match="LOG-CARRIED"):
        unify_schemas({"a": GOOD}, InteractionColumns(carried=("geo",)))
    assert unify_schemas({"a": GOOD}, InteractionColumns(carried=("-geo",))).names == GOOD.names
    with pytest.raises(InputError, match="OPTION-CARRIED"):
        InteractionColumns(carried=("a", "-b"))


def test_names_equal_but_for_case_are_refused_across_files_and_in_structs():
    upper, lower = (GOOD.append(pa.field(name, pa.float64())) for name in ("Price", "price"))
    for schemas in ({"a": upper, "b": lower}, {"a": upper.append(lower.field("price"))}):
        with pytest.raises(InputError, match="LOG-CASE") as error:
            unify_schemas(schemas)
        assert "'price' and 'Price'" in error.value.found or "'Price' and 'price'" in error.value.found
        assert "--columns=-price or --columns=-Price" in error.value.fix
    inner = GOOD.append(pa.field("geo", pa.list_(pa.struct([("City", pa.string()), ("city", pa.string())]))))
    with pytest.raises(InputError, match=r"Column 'geo' has fields whose names are equal but for case"):
        unify_schemas({"a": inner})


def test_ids_travel_as_strings_or_integers():
    for kind, travels in (
        (pa.decimal128(38, 0), pa.int64()),
        (pa.float64(), pa.int64()),
        (pa.binary(), pa.string()),
        (pa.large_binary(), pa.large_string()),
        (pa.binary(16), pa.string()),
        (pa.uuid(), pa.string()),
        (pa.dictionary(pa.int8(), pa.binary()), pa.string()),
        (pa.null(), pa.null()),
    ):
        assert check_file_schema(with_field("user_id", kind), COLUMNS, "f").field("user_id").type == travels
    nobody = {"a": check_file_schema(with_field("user_id", pa.null()), COLUMNS, "a")}
    assert unify_schemas(nobody).field("user_id").type == pa.string()
    assert unify_schemas({**nobody, "b": with_field("user_id", pa.int32())}).field("user_id").type == pa.int32()


def test_numbers_that_are_converted_to_a_unit_travel_in_64_bits():
    schema = check_file_schema(with_field("timestamp", pa.int32()), InteractionColumns(timestamp_unit="ms"), "f")
    assert schema.field("timestamp").type == pa.int64()


def test_timestamps_can_be_written_in_a_unit_that_spark_reads():
    fine = with_field("timestamp", pa.timestamp("ns", "UTC"))
    assert describe_schemas({"a": fine}, COLUMNS) == [
        "timestamp holds nanoseconds, which Spark does not read; --timestamp-unit us writes microseconds."
    ]
    columns = InteractionColumns(timestamp_unit="us")
    schema = check_file_schema(fine, columns, "a")
    assert schema.field("timestamp").type == pa.timestamp("us", "UTC")
    assert describe_schemas({"a": schema}, columns) == []


def test_a_column_that_differs_in_case_alone_is_pointed_out():
    schema = pa.schema([("USER_ID", pa.string()), ("item_id", pa.string()), ("timestamp", pa.int64())])
    with pytest.raises(InputError, match=r"write 'user_id' in all files, or 'USER_ID' in all"):
        check_file_schema(schema, COLUMNS, "f")
