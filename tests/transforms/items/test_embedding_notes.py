import json

import pytest

from iadsr.models.encoders.coverage import Coverage
from iadsr.transforms.items.embedding_files import read_notes, write_embeddings
from iadsr.transforms.items.embedding_notes import EmbeddingNotes
from iadsr.transforms.items.item_texts import CatalogueNotes

NOTES = EmbeddingNotes(
    CatalogueNotes({"link": "addresses"}, ("brand",), {"null item_id": 2}, not_utf8=1, with_html=3),
    Coverage(0.9, 0.5, 0),
)


def test_notes_travel_with_the_files(table_of, tmp_path):
    write_embeddings(table_of(["a", "b"]), str(tmp_path), notes=NOTES)
    assert read_notes(str(tmp_path)) == NOTES


def test_nothing_to_tell_leaves_the_bytes_as_they_are(table_of, tmp_path):
    (plain,) = write_embeddings(table_of(["a"]), str(tmp_path / "plain"))
    (noted,) = write_embeddings(
        table_of(["a"]), str(tmp_path / "noted"), notes=EmbeddingNotes(CatalogueNotes(), Coverage(0.01, 0, 0))
    )
    with open(plain, "rb") as one, open(noted, "rb") as other:
        assert one.read() == other.read()
    assert read_notes(plain) == EmbeddingNotes()


@pytest.mark.parametrize(
    "values",
    [None, [], "x", {"not_text": {"a": 1}}, {"rows_left_out": {"a": "b"}}, {"not_utf8": True}, {"coverage": {"a": 1}}],
)
def test_notes_of_others_count_as_none(values):
    assert EmbeddingNotes.from_dict(json.loads(json.dumps(values))) == EmbeddingNotes()
