"""Every kind of file that cannot be used: the run stops with a clear error, or leaves the file out and names it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.added_columns import ADDED_COLUMNS
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_splits import read_split
from iadsr.transforms.read.validation import UNREADABLE

COLUMNS = InteractionColumns()
ROWS = 60


def good(rows: int = ROWS, **changes) -> pa.Table:
    columns = {
        "user_id": [f"u{n % 7}" for n in range(rows)],
        "item_id": [f"i{n % 11}" for n in range(rows)],
        "timestamp": pa.array(range(rows), pa.int64()),
    }
    return pa.table({**columns, **changes})


def with_type(column: str, array) -> pa.Table:
    return good(len(array), **{column: array})


class Kms(encryption.KmsClient):
    def wrap_key(self, key_bytes, master_key_identifier):
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return bytes.fromhex(wrapped_key)


def write_encrypted(path) -> None:
    configuration = encryption.EncryptionConfiguration(
        footer_key="k", column_keys={"k": ["user_id"]}, plaintext_footer=False, double_wrapping=False
    )
    factory = encryption.CryptoFactory(lambda connection: Kms())
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), configuration)
    with pq.ParquetWriter(path, good().schema, encryption_properties=properties) as writer:
        writer.write_table(good())


def write_doubled(path) -> None:
    table = pa.Table.from_arrays([*good().columns, good()["item_id"]], [*good().column_names, "item_id"])
    pq.write_table(table, path)


def cut(path, keep) -> None:
    pq.write_table(good(), path)
    path.write_bytes(keep(path.read_bytes()))


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "FILE-READ"),
    "text": (lambda path: path.write_bytes(b"user_id,item_id,timestamp\na,b,1\n"), "FILE-READ"),
    "magic": (lambda path: path.write_bytes(b"PAR1" + b"\0" * 50 + b"PAR1"), "FILE-READ"),
    "truncated": (lambda path: cut(path, lambda data: data[:-30]), "FILE-READ"),
    "beheaded": (lambda path: cut(path, lambda data: data[200:-300]), "FILE-READ"),
    "encrypted": (write_encrypted, "FILE-ENCRYPTED"),
    "doubled": (write_doubled, "LOG-DOUBLED"),
    "no user": (lambda path: pq.write_table(good().drop_columns(["user_id"]), path), "LOG-COLUMN"),
    "cleaned": (
        lambda path: pq.write_table(good(**{name: [0.5] * ROWS for name in ADDED_COLUMNS}), path),
        "LOG-CLEANED",
    ),
    "internal": (lambda path: pq.write_table(good(__iadsr_row=range(ROWS)), path), "LOG-INTERNAL"),
    "nested user": (lambda path: pq.write_table(with_type("user_id", pa.array([[1], [2]])), path), "LOG-TYPE"),
    "struct item": (lambda path: pq.write_table(with_type("item_id", pa.array([{"a": 1}])), path), "LOG-TYPE"),
    "bool user": (lambda path: pq.write_table(with_type("user_id", pa.array([True, False])), path), "LOG-TYPE"),
    "float user": (lambda path: pq.write_table(with_type("user_id", pa.array([1.5, np.nan])), path), "LOG-MIXED"),
    "bool time": (lambda path: pq.write_table(with_type("timestamp", pa.array([True, False])), path), "LOG-TYPE"),
    "duration": (
        lambda path: pq.write_table(with_type("timestamp", pa.array([1, 2], pa.duration("s"))), path),
        "LOG-TYPE",
    ),
    "other ids": (lambda path: pq.write_table(with_type("user_id", pa.array([1, 2])), path), "LOG-MIXED"),
    "other time": (
        lambda path: pq.write_table(with_type("timestamp", pa.array([1, 2], pa.timestamp("us", "UTC"))), path),
        "LOG-MIXED",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_the_run_or_is_left_out_and_is_named(tmp_path, name):
    write, code = BAD[name]
    pq.write_table(good(), tmp_path / "a.parquet")
    pq.write_table(good(), tmp_path / "z.parquet")
    write(tmp_path / "bad.parquet")
    with pytest.raises(InputError) as error:
        plan_input(LogSource(str(tmp_path), COLUMNS))
    assert error.value.code == code
    assert "bad.parquet" in error.value.what
    assert error.value.fix
    plan = plan_input(LogSource(str(tmp_path), COLUMNS, "skip"))
    (skipped,) = plan.skipped
    assert (skipped.path, skipped.code) == (str(tmp_path / "bad.parquet"), code)
    assert "bad.parquet" in skipped.reason
    assert skipped.rows is None if code.startswith("FILE-") else skipped.rows is not None
    assert plan.rows == 2 * ROWS


@pytest.mark.parametrize("name", [name for name, (_, code) in BAD.items() if code != "LOG-MIXED"])
def test_a_log_with_only_bad_files_is_an_error_even_if_they_are_skipped(tmp_path, name):
    BAD[name][0](tmp_path / "bad.parquet")
    with pytest.raises(InputError, match="No rows in") as error:
        plan_input(LogSource(str(tmp_path), COLUMNS, "skip"))
    assert "1 unusable" in str(error.value)


def test_if_files_disagree_those_with_fewer_rows_are_left_out_whatever_their_order(tmp_path):
    pq.write_table(with_type("user_id", pa.array(range(5))), tmp_path / "a.parquet")
    pq.write_table(good(), tmp_path / "b.parquet")
    pq.write_table(good(price=pa.array(["1"] * ROWS)), tmp_path / "c.parquet")
    pq.write_table(good(price=pa.array([1.0] * ROWS)), tmp_path / "d.parquet")
    pq.write_table(good(price=pa.array([1] * ROWS)), tmp_path / "e.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS, "skip"))
    assert [file.path.rpartition("/")[2] for file in plan.skipped] == ["a.parquet", "c.parquet"]
    assert plan.schema.field("price").type == pa.float64()
    assert [split.file_first_row for split in plan.splits] == [0, ROWS, 2 * ROWS]


def damage(path, group: int) -> None:
    """Destroys the pages of one row group. The footer stays intact."""
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)


def test_rows_of_a_damaged_row_group_are_rejected_and_the_others_are_used(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(good(user_id=[None, *["u"] * (ROWS - 1)]), path, row_group_size=20)
    damage(path, 1)
    plan = plan_input(LogSource(str(path), COLUMNS))
    with pytest.raises(InputError) as error:
        read_split(plan.splits[0], COLUMNS, plan.schema)
    assert error.value.code == "LOG-PAGES"
    valid, rejected = read_split(plan.splits[0], COLUMNS, plan.schema, "skip")
    assert valid["timestamp"].to_pylist() == [*range(1, 20), *range(40, 60)]
    assert rejected["row_number"].to_pylist() == [0, *range(20, 40)]
    assert rejected["reason"].to_pylist() == ["null user_id"] + [UNREADABLE] * 20
    assert [json.loads(row) for row in rejected["row"].to_pylist()[1:]] == [None] * 20


def test_a_page_that_fails_its_checksum_is_damaged(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(good(), path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    place = data.index(b"u3")
    data[place : place + 2] = b"u4"  # without a checksum this is just another user, and nobody would notice
    path.write_bytes(data)
    plan = plan_input(LogSource(str(path), COLUMNS))
    with pytest.raises(InputError) as error:
        read_split(plan.splits[0], COLUMNS, plan.schema)
    assert error.value.code == "LOG-PAGES"


HOSTILE = [
    "a\nb",
    "a\0b",
    "\u202eevil",
    "\x1b[31m",
    "'; DROP TABLE users; --",
    "<script>",
    "\U0001f3ac",
    " ",
    "x" * 1_000_000,
]


@pytest.mark.parametrize(
    "type_", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_strange_ids_stay_as_they_are(tmp_path, type_):
    n = len(HOSTILE)
    ids = pa.array(HOSTILE).cast(type_) if not pa.types.is_dictionary(type_) else pa.array(HOSTILE).dictionary_encode()
    pq.write_table(pa.table({"user_id": ids, "item_id": ids, "timestamp": range(n)}), tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    valid, rejected = read_split(plan.splits[0], COLUMNS, plan.schema)
    assert valid["user_id"].to_pylist() == valid["item_id"].to_pylist() == HOSTILE
    assert len(rejected) == 0


TIMES = {
    "negative": ([-5, -(2**62), 3], [True, True, True]),
    "far future": ([2**63 - 1, 0, 1], [True, True, True]),
    "floats": ([np.nan, np.inf, -np.inf, -1.5, 1e300], [False, False, False, True, True]),
    "unsigned": (pa.array([2**64 - 1, 2**63 - 1], pa.uint64()), [False, True]),
    "nanoseconds": (pa.array([1, -1, None], pa.timestamp("ns")), [True, True, False]),
    "zones": (pa.array([0, 2**61], pa.timestamp("us", "Asia/Kathmandu")), [True, True]),
    "unknown zone": (pa.array([0, 1], pa.timestamp("us", "Mars/Olympus")), [True, True]),
    "dates": (pa.array([0, 2_932_896], pa.date32()), [True, True]),
    "strings": (
        ["2024-02-30", "yesterday", "", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59", "2024-01-01\0", "1e9"],
        [False, False, False, True, True, False, False],
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_of_every_kind_are_used_or_rejected_with_a_reason(tmp_path, name):
    values, usable = TIMES[name]
    n = len(usable)
    table = pa.table({"user_id": ["u"] * n, "item_id": ["i"] * n, "timestamp": values})
    pq.write_table(table, tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    valid, rejected = read_split(plan.splits[0], COLUMNS, plan.schema)
    assert rejected["row_number"].to_pylist() == [row for row in range(n) if not usable[row]]
    assert set(rejected["reason"].to_pylist()) <= {"null timestamp", "unparsable timestamp"}
    for row in rejected["row"].to_pylist():
        assert json.loads(row)["user_id"] == "u"
    assert len(valid) == sum(usable)


def test_an_error_message_of_arrow_that_quotes_a_user_id_is_not_shown(tmp_path):
    pq.write_table(with_type("user_id", pa.array([2**63 + 11], pa.uint64())), tmp_path / "1.parquet")
    pq.write_table(with_type("user_id", pa.array([-1], pa.int64())), tmp_path / "2.parquet")

    def read() -> None:
        plan = plan_input(LogSource(str(tmp_path), COLUMNS))
        for split in plan.splits:
            read_split(split, COLUMNS, plan.schema)

    with pytest.raises(InputError) as error:
        read()
    assert "9223372036854775819" not in str(error.value)


def test_columns_that_only_some_files_have_can_be_written_and_read_again(tmp_path):
    pairs = pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2))
    nested = pa.array([["x"]] * 3, pa.list_(pa.string_view()))
    pq.write_table(good(3, pairs=pairs, nested=nested), tmp_path / "a.parquet")
    pq.write_table(good(3), tmp_path / "b.parquet")
    plan = plan_input(LogSource(str(tmp_path), COLUMNS))
    valid = pa.concat_tables(read_split(split, COLUMNS, plan.schema)[0] for split in plan.splits)
    pq.write_table(valid, tmp_path / "carried")
    again = pq.read_table(tmp_path / "carried")
    assert again["pairs"].to_pylist() == [[1.0, 2.0]] * 3 + [None] * 3
    assert again["nested"].to_pylist() == [["x"]] * 3 + [None] * 3


def test_nulls_in_fixed_size_lists_are_not_reported_as_damaged_pages(tmp_path):
    pq.write_table(good(3, pairs=pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))), tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    with pytest.raises(InputError, match="fixed-size lists with nulls") as error:
        read_split(plan.splits[0], COLUMNS, plan.schema)
    assert error.value.code == "LOG-LISTS"
    _, rejected = read_split(plan.splits[0], COLUMNS, plan.schema, "skip")
    assert len(rejected) == 3


def test_columns_without_a_role_may_have_any_type(tmp_path):
    carried = {
        "list": pa.array([[1, 2], None, []]),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}]),
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        "binary": pa.array([b"\xff\x00", None, b""]),
        "fixed": pa.array([b"ab", b"cd", None], pa.binary(2)),
        "decimal": pa.array([1, None, 2]).cast(pa.decimal128(22, 3)),
        "time": pa.array([1, 2, None], pa.time64("us")),
        "half": pa.array(np.array([1, np.nan, np.inf], np.float16)),
        "null": pa.nulls(3),
        "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
        "bool": pa.array([True, None, False]),
    }
    pq.write_table(good(3, **carried), tmp_path / "log.parquet")
    plan = plan_input(LogSource(str(tmp_path / "log.parquet"), COLUMNS))
    valid, _ = read_split(plan.splits[0], COLUMNS, plan.schema)
    for name, column in carried.items():
        assert str(valid[name].to_pylist()) == str(column.to_pylist()), name
