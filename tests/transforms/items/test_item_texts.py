import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.errors import InputError
from iadsr.transforms.items.item_texts import CatalogueNotes, _keep_first_rows, read_item_texts


@pytest.fixture
def write(tmp_path):
    def write(columns: dict, name: str = "items.parquet") -> str:
        pq.write_table(pa.table(columns), tmp_path / name)
        return str(tmp_path / name)

    return write


def test_title_and_category_are_joined_by_default(write):
    path = write({"item_id": ["a", "b"], "brand": ["X", "Y"], "category": ["Film", None], "title": ["Kolya", "Fargo"]})
    items = read_item_texts(path)
    assert items.texts.to_pylist() == ["Kolya, Film", "Fargo"]
    assert items.text_columns == ("title", "category")
    assert items.item_ids.equals(pa.array(["a", "b"]))


def test_without_title_and_category_all_text_columns_are_used(write):
    path = write({"name": ["Kolya"], "item_id": ["a"], "year": [1996], "genre": pa.array(["Film"]).dictionary_encode()})
    items = read_item_texts(path)
    assert items.text_columns == ("name", "genre")
    assert items.item_ids.to_pylist() == ["a"]
    assert items.texts.to_pylist() == ["Kolya, Film"]


def test_columns_are_joined_in_the_given_order_and_numbers_become_text(write):
    path = write({"sku": pa.array([5], pa.uint16()), "title": ["Kolya"], "year": [1996]})
    items = read_item_texts(path, item_column="sku", text_columns=("year", "title"))
    assert items.texts.to_pylist() == ["1996, Kolya"]
    assert items.item_ids.equals(pa.array([5], pa.int64()))


def test_lists_are_joined_without_their_nulls(write):
    lists = pa.array([["Film", None, "", "Drama"], [], None, [None]])
    items = read_item_texts(write({"item_id": [1, 2, 3, 4], "title": ["a", "b", "c", None], "category": lists}))
    assert items.texts.to_pylist() == ["a, Film, Drama", "b", "c", None]


def test_blank_text_counts_as_no_text_and_white_space_becomes_one_space(write):
    titles = ["", " \t ", None, "  red \n dress ", "\u00a0"]
    items = read_item_texts(write({"item_id": [1, 2, 3, 4, 5], "title": titles}))
    assert items.texts.to_pylist() == [None, None, None, "red dress", None]


def test_the_first_row_of_an_item_counts(write):
    path = write({"item_id": [1, 2, 1, 1, 3, 3, 4, 4], "title": ["a", "b", "a", "x", None, None, None, "y"]})
    items = read_item_texts(path)
    assert items.item_ids.to_pylist() == [1, 2, 3, 4]
    assert items.texts.to_pylist() == ["a", "b", None, None]
    assert (items.repeated_rows, items.conflicting_rows) == (4, 2)


def test_several_files_are_read_in_name_order(write, tmp_path):
    write({"item_id": pa.array([3, 1], pa.int32()), "title": ["c", "late"]}, "b.parquet")
    write({"item_id": pa.array([1], pa.int64()), "title": pa.array(["a"], pa.large_string())}, "a.parquet")
    items = read_item_texts(str(tmp_path))
    assert items.item_ids.to_pylist() == [1, 3]
    assert items.texts.to_pylist() == ["a", "c"]
    assert (items.repeated_rows, items.conflicting_rows) == (1, 1)
    assert read_item_texts(str(tmp_path / "[b].parquet")).item_ids.to_pylist() == [3, 1]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.sampled_from("xyz")), min_size=1, max_size=30),
)
@settings(max_examples=100)
def test_the_rows_kept_are_those_that_a_dictionary_keeps(rows):
    first: dict[int, str | None] = {}
    for item, text in rows:
        first.setdefault(item, text)
    conflicting = sum(first[item] != text for item, text in rows)
    ids, texts = pa.array([i for i, _ in rows]), pa.array([t for _, t in rows], pa.large_string())
    if conflicting > len(first):
        with pytest.raises(InputError, match="is not an item catalogue"):
            _keep_first_rows("items", ids, texts, ("title",), CatalogueNotes())
        return
    items = _keep_first_rows("items", ids, texts, ("title",), CatalogueNotes())
    assert items.item_ids.to_pylist() == list(first)
    assert items.texts.to_pylist() == list(first.values())
    assert items.repeated_rows == len(rows) - len(first)
    assert items.conflicting_rows == conflicting


def test_an_interaction_log_is_not_accepted_as_a_catalogue(write):
    path = write({"item_id": [1, 2] * 4, "user": list("abcdefgh")})
    with pytest.raises(InputError, match="is not an item catalogue") as error:
        read_item_texts(path)
    assert error.value.found == "8 rows of 2 items, 6 with another text than the item's first"


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"id": [1], "title": ["a"]}, {}, "column 'item_id' is missing"),
        ({"item_id": [1], "title": ["a"]}, {"text_columns": ("name",)}, "column 'name' is missing"),
        ({"item_id": [1], "title": ["a"]}, {"item_column": "sku"}, "column 'sku' is missing"),
        ({"item_id": [1], "year": [1996]}, {}, "has no text column"),
        ({"item_id": [1], "title": [{"en": "a"}]}, {"text_columns": ("title",)}, "cannot be used as text"),
        ({"item_id": [1.5], "title": ["a"]}, {}, "cannot hold item ids"),
        ({"item_id": pa.nulls(2), "title": ["a", "b"]}, {}, "No row of .* has a usable item id"),
        ({"item_id": [1, 2], "image_url": ["http://a/1.png", "http://a/2.png"]}, {}, "image_url holds addresses"),
        ({"item_id": [1, 2], "title": [None, " "]}, {"text_columns": ("title",)}, "has any text"),
        ({"item_id": pa.array([], pa.int64()), "title": pa.array([], pa.string())}, {}, "has any text"),
    ],
)
def test_catalogues_that_break_the_contract_are_refused(write, columns, options, message):
    with pytest.raises(InputError, match=message) as error:
        read_item_texts(write(columns), **options)
    assert "items.parquet" in str(error.value)


def test_id_types_that_differ_between_files_are_refused(write, tmp_path):
    write({"item_id": [1], "title": ["a"]}, "a.parquet")
    write({"item_id": ["1"], "title": ["a"]}, "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: column 'item_id' has another type"):
        read_item_texts(str(tmp_path))


def test_damaged_files_are_refused(write, tmp_path):
    path = tmp_path / "items.parquet"
    write({"item_id": np.arange(1000), "title": [f"title {i}" for i in range(1000)]})
    whole = path.read_bytes()
    for damaged in (b"", whole[:-100], whole[:4] + bytes(200) + whole[204:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"items\.parquet"):
            read_item_texts(str(path))


def test_a_column_without_a_value_in_the_first_file_is_used(write, tmp_path):
    write({"item_id": [1, 2], "title": pa.nulls(2), "category": ["shop"] * 2}, "a.parquet")
    write({"item_id": [3], "title": ["Kolya"], "category": ["shop"]}, "b.parquet")
    items = read_item_texts(str(tmp_path))
    assert items.text_columns == ("title", "category")
    assert items.texts.to_pylist() == ["shop", "shop", "Kolya, shop"]


def test_a_file_without_rows_decides_nothing(write, tmp_path):
    pq.write_table(pa.table({}), tmp_path / "a.parquet")
    write({"item_id": pa.nulls(0), "title": pa.nulls(0)}, "b.parquet")
    write({"item_id": ["x"], "title": ["Kolya"]}, "c.parquet")
    assert read_item_texts(str(tmp_path)).texts.to_pylist() == ["Kolya"]


def test_columns_that_only_some_files_have_are_used(write, tmp_path):
    write({"item_id": [1], "category": pa.array(["Film"]).dictionary_encode()}, "a.parquet")
    write({"item_id": [2], "Category": pa.array(["Book"], pa.large_string()), "title": ["Kolya"]}, "b.parquet")
    items = read_item_texts(str(tmp_path))
    assert items.text_columns == ("title", "category")
    assert items.texts.to_pylist() == ["Film", "Kolya, Book"]
    assert read_item_texts(str(tmp_path), text_columns=("TITLE",)).texts.to_pylist() == [None, "Kolya"]


def test_spellings_of_one_name_in_one_file_are_one_column(write):
    path = write({"item_id": [1, 2], "Title": ["old", "other"], "title": ["new", " "]})
    assert read_item_texts(path).texts.to_pylist() == ["new", "other"]


def test_what_was_left_out_or_changed_is_told(write):
    titles = pa.Array.from_buffers(pa.string(), 5, pa.array([b"a &amp; b", b"caf\xe9", b"c", b"d", b"e"]).buffers())
    path = write(
        {
            "item_id": ["1", "2", None, "", "5"],
            "title": titles,
            "brand": ["Acme", "Bolt", "Acme", "Bolt", "Acme"],
            "link": [f"http://shop/{n}" for n in range(5)],
        }
    )
    items = read_item_texts(path)
    assert items.item_ids.to_pylist() == ["1", "2", "5"]
    assert items.texts.to_pylist() == ["a & b", None, "e"]
    assert items.notes == CatalogueNotes(
        not_text={"link": "addresses"},
        other_columns=("brand",),
        rows_left_out={"null item_id": 1, "empty item_id": 1},
        not_utf8=1,
        with_html=1,
    )


def test_a_catalogue_in_many_small_files(write, tmp_path):
    for part in range(1100):
        write({"item_id": [part], "title": [f"title {part}"] if part else pa.nulls(1)}, f"part-{part:05d}.parquet")
    items = read_item_texts(str(tmp_path))
    assert len(items.item_ids) == 1100
    assert items.texts[-1].as_py() == "title 1099"


def test_columns_in_the_names_of_folders_are_columns_of_the_catalogue(tmp_path):
    for item, category in (("a", "red shoes"), ("b", "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / f"item_id={item}" / f"category={category}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"title": [f"model {item}"], "price": [1]}), folder / "part-0")
    (tmp_path / "notes.txt").write_text("text")
    catalogue = read_item_texts(str(tmp_path))
    assert catalogue.item_ids.to_pylist() == ["a", "b"]
    assert catalogue.texts.to_pylist() == ["model a, red shoes", "model b"]
    assert [file.path for file in catalogue.skipped] == [str(tmp_path / "notes.txt")]
