import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.contract.hashing import hash_values
from iadsr.transforms.rules.non_item_ids import read_non_items
from iadsr.transforms.rules.rule_options import RuleOptions


def hashes(ids, kind=None) -> list[int]:
    return np.sort(hash_values(pa.array(ids, kind or pa.string()))).tolist()


def read(options: RuleOptions, kind=None):
    named, catalogue = read_non_items(options, "item_id", kind or pa.string())
    return named.tolist(), None if catalogue is None else catalogue.tolist()


def test_nothing_is_named_by_default():
    assert read(RuleOptions()) == ([], None)


def test_a_text_file_names_one_on_each_line(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("bag\n\n postage \nbag\n")
    assert read(RuleOptions(non_items=str(path))) == (hashes(["bag", "postage"]), None)


def test_a_parquet_file_names_them_in_the_item_column_and_a_number_is_its_number(tmp_path):
    path = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"item_id": [1, 2, None]}), path)
    assert read(RuleOptions(non_items=str(path)), pa.int64()) == (hashes([1, 2], pa.int64()), None)
    assert read(RuleOptions(non_items=str(path)), pa.string()) == (hashes(["1", "2"]), None)


def test_the_catalogue_says_what_is_none_and_what_there_is(tmp_path):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["bag", "book", "pen"], "fee": [1, 0, None]}), path)
    options = RuleOptions(catalogue=str(path), non_item_column="fee", catalogue_only=True)
    assert read(options) == (hashes(["bag"]), hashes(["bag", "book", "pen"]))
    assert read(RuleOptions(catalogue=str(path), catalogue_only=True)) == ([], hashes(["bag", "book", "pen"]))


@pytest.mark.parametrize(
    ("columns", "options", "code"),
    [
        ({"id": ["a"]}, {"non_items": ""}, "RULE-ITEMS"),
        ({"item_id": ["a"], "fee": ["perhaps"]}, {"catalogue": "", "non_item_column": "fee"}, "RULE-FLAG"),
        ({"item_id": ["bag"]}, {"non_items": ""}, "RULE-IDS"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(tmp_path, columns, options, code):
    path = str(tmp_path / "items.parquet")
    pq.write_table(pa.table(columns), path)
    named = {name: value or path for name, value in options.items()}
    with pytest.raises(InputError) as error:
        read(RuleOptions(**named), pa.int64())
    assert error.value.code == code
    assert path in error.value.what


@pytest.mark.parametrize(
    "content",
    [
        "bag\r\npostage\r\n",
        "\ufeffitem_id\r\nbag\r\npostage\r\n",
        'item_id,why\n"bag","plastic, large"\npostage,fee\n',
        "why\titem_id\nplastic\tbag\nfee\tpostage\n",
    ],
)
@pytest.mark.parametrize("name", ["ids", "ids.csv"])
def test_text_is_known_by_its_content_and_may_have_a_header(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert read(RuleOptions(non_items=str(path))) == (hashes(["bag", "postage"]), None)


def test_files_of_one_folder_may_hold_ids_of_several_types(tmp_path):
    pq.write_table(pa.table({"item_id": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"item_id": ["2"]}), tmp_path / "b.parquet")
    options = RuleOptions(catalogue=str(tmp_path), catalogue_only=True)
    assert read(options, pa.int64()) == ([], hashes([1, 2], pa.int64()))


@pytest.mark.parametrize("kind", ["uuid", "16 bytes", "bytes", "decimal", "float", "dictionary"])
def test_ids_of_every_type_have_the_form_that_they_have_in_the_log(tmp_path, kind):
    one = uuid.UUID(int=10**30)
    raw = pa.array([one.bytes, None], pa.binary(16))
    ids, text = {
        "uuid": (pa.ExtensionArray.from_storage(pa.uuid(), raw), str(one)),
        "16 bytes": (raw, str(one)),
        "bytes": (pa.array([b"bag", None]), "bag"),
        "decimal": (pa.array([Decimal(10**17), None], pa.decimal128(38, 0)), str(10**17)),
        "float": (pa.array([7.0, float("nan")]), "7"),
        "dictionary": (pa.array(["bag", None]).dictionary_encode(), "bag"),
    }[kind]
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ids}), path)
    assert read(RuleOptions(catalogue=str(path), catalogue_only=True)) == ([], hashes([text]))


def test_a_type_that_holds_no_ids_is_refused(tmp_path):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": [[1]]}), path)
    with pytest.raises(InputError) as error:
        read(RuleOptions(non_items=str(path)))
    assert error.value.code == "RULE-IDS"
