import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import load_encoder
from iadsr.models.encoders.text_encoder import TextEncoder
from iadsr.pipeline.commands import embed
from iadsr.pipeline.commands.command_options import EmbedOptions
from iadsr.pipeline.commands.embed import run_embed
from iadsr.pipeline.commands.messages import describe_embedding
from iadsr.pipeline.engines.progress import Task
from iadsr.transforms.items.embedding_files import read_embeddings, read_notes, write_embeddings
from iadsr.transforms.items.embedding_notes import EmbeddingNotes
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable
from iadsr.transforms.run.output_directory import locked


@pytest.fixture
def options(tmp_path, tiny_encoder) -> EmbedOptions:
    return EmbedOptions(str(tmp_path / "items.parquet"), str(tmp_path / "out"), encoder=str(tiny_encoder))


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """Texts that reach the encoder."""
    texts: list[str] = []
    encode = TextEncoder.encode

    def record(self, batch, progress=None):
        texts.extend(batch)
        return encode(self, batch, progress)

    monkeypatch.setattr(TextEncoder, "encode", record)
    return texts


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, int]]:
    """The progress that is shown: texts embedded, and their total."""
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(Task, "advance_to", lambda self, done, total: shown.append((done, total)))
    return shown


def write_items(options: EmbedOptions, items: dict) -> None:
    pq.write_table(pa.table({"item_id": list(items), "title": list(items.values())}), options.items)


def vectors_of(options: EmbedOptions) -> dict:
    table = read_embeddings(options.output)
    return dict(zip(table.item_ids.to_pylist(), table.vectors, strict=True))


def test_every_item_gets_the_vector_of_its_text(options, encoded, calls):
    write_items(options, {"a": "red dress", "b": None, "c": "soap", "d": "red dress", "e": " "})
    summary = run_embed(options)
    table = read_embeddings(options.output)
    assert table.item_ids.to_pylist() == ["a", "b", "c", "d", "e"]
    assert table.present.tolist() == [True, False, True, True, False]
    assert table.texts is not None
    assert table.texts.to_pylist() == ["red dress", None, "soap", "red dress", None]
    np.testing.assert_array_equal(table.vectors[0], table.vectors[3])
    assert np.abs(table.vectors[0] - table.vectors[2]).max() > 0.01
    assert not table.vectors[[1, 4]].any()
    assert sorted(encoded) == ["red dress", "soap"]
    assert calls[-1] == (2, 2)
    assert table.metadata == summary.metadata
    assert (table.metadata.encoder, table.metadata.pooling) == ("tiny-bert", "mean")
    assert table.metadata.text_columns == ("title",)
    assert (summary.items, summary.embedded, summary.reused, summary.without_text) == (5, 3, 0, 2)
    assert (summary.texts, summary.replaced) == (2, None)


def test_a_rerun_embeds_only_what_is_new_or_changed(options, encoded):
    write_items(options, {8: None, 1: "red dress", 2: "soap", 3: "lamp", 4: "gel"})
    run_embed(options)
    first = vectors_of(options)
    encoded.clear()
    write_items(options, {2: "soap", 5: "blue lamp", 1: "blue dress", 6: "lamp", 7: None})
    summary = run_embed(options)
    assert sorted(encoded) == ["blue dress", "blue lamp"]
    second = vectors_of(options)
    assert list(second) == [2, 5, 1, 6, 7]
    np.testing.assert_array_equal(second[2], first[2])
    np.testing.assert_array_equal(second[6], first[3])
    assert not np.array_equal(second[1], first[1])
    assert (summary.embedded, summary.reused, summary.without_text, summary.removed) == (2, 2, 1, 3)
    assert summary.items == summary.embedded + summary.reused + summary.without_text


def test_a_rerun_of_the_same_catalogue_leaves_the_file_as_it_is(options, encoded, tmp_path):
    write_items(options, {1: "red dress", 2: "soap", 3: None})
    first = run_embed(options)
    (file,) = (tmp_path / "out").iterdir()
    before = file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino
    encoded.clear()
    second = run_embed(options)
    assert encoded == []
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == before
    assert second.fingerprint == first.fingerprint
    assert (second.embedded, second.reused) == (0, 2)


def test_a_packaged_encoder_is_not_loaded_if_nothing_is_new(options, monkeypatch, tmp_path):
    write_items(options, {"a": "red dress", "b": "soap", "c": None})
    first = run_embed(options)
    (file,) = (tmp_path / "out").iterdir()
    before = file.read_bytes(), file.stat().st_mtime_ns
    made_by = first.metadata.encoder, first.metadata.revision, first.metadata.pooling
    monkeypatch.setattr(embed, "packaged_space", lambda name: made_by)
    monkeypatch.setattr(load_encoder, "load_encoder", lambda name: 1 / 0)
    second = run_embed(options)
    assert second == replace(first, embedded=0, reused=2, texts=0, seconds=0, notes=EmbeddingNotes())
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    for changed in ({"a": "red dress", "b": "soap", "c": "gel"}, {"a": "red dress", "b": "soap"}):
        write_items(options, changed)
        with pytest.raises(ZeroDivisionError):
            run_embed(options)


def test_a_rerun_with_other_text_columns_still_knows_equal_texts(options, encoded):
    pq.write_table(pa.table({"item_id": [1, 2], "title": ["soap", "gel"], "kind": ["red", None]}), options.items)
    run_embed(replace(options, text_columns=("title",)))
    encoded.clear()
    summary = run_embed(replace(options, text_columns=("title", "kind")))
    assert encoded == ["soap, red"]
    assert summary.metadata.text_columns == ("title", "kind")


def test_another_encoder_embeds_everything_again_and_says_so(options, encoded, tiny_causal_encoder):
    write_items(options, {1: "soap", 2: "gel"})
    run_embed(options)
    encoded.clear()
    summary = run_embed(replace(options, encoder=str(tiny_causal_encoder)))
    assert sorted(encoded) == ["gel", "soap"]
    assert summary.replaced is not None
    assert "tiny-bert" in summary.replaced
    assert "could not be reused" in describe_embedding(summary, options.output)
    assert read_embeddings(options.output).metadata.encoder == "tiny-llama"


def test_damaged_vectors_are_embedded_again(options, encoded, tmp_path):
    write_items(options, {1: "soap", 2: "gel"})
    run_embed(options)
    expected = vectors_of(options)
    (file,) = (tmp_path / "out").iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    encoded.clear()
    summary = run_embed(options)
    assert len(encoded) == 2
    assert summary.replaced is not None
    assert "damaged" in summary.replaced
    np.testing.assert_array_equal(vectors_of(options)[1], expected[1])


def test_an_interrupted_run_goes_on_where_it_stopped(options, encoded, monkeypatch, tmp_path, calls):
    monkeypatch.setattr(embed, "CHUNK_TEXTS", 2)
    titles = ["red", "blue", "dress", "lamp", "gel", "soap", "red lamp"]
    write_items(options, dict(enumerate(titles)))
    encode = TextEncoder.encode

    def interrupt(self, batch, progress=None):
        if "gel" in batch:
            raise KeyboardInterrupt
        return encode(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(TextEncoder, "encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_embed(options)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".unfinished"]
    encoded.clear()
    calls.clear()
    summary = run_embed(options)
    assert encoded == ["gel", "soap", "red lamp"]
    assert calls[0][0] > 4
    assert calls[-1] == (7, 7)
    assert summary.embedded == 7
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    resumed = vectors_of(options)
    shutil.rmtree(tmp_path / "out")
    run_embed(options)
    for item, vector in vectors_of(options).items():
        np.testing.assert_allclose(resumed[item], vector, atol=1e-6)


def test_unfinished_work_of_another_encoder_is_dropped(options, encoded, tmp_path):
    write_items(options, {1: "soap"})
    other = EmbeddingMetadata("semantic", "other", "1", "mean", 2)
    left = EmbeddingTable(pa.array(["soap"]), np.ones((1, 2), np.float32), np.array([True]), None, other)
    write_embeddings(left, str(tmp_path / "out" / ".unfinished" / "00000"))
    run_embed(options)
    assert encoded == ["soap"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]


def test_a_text_without_a_known_token_is_no_text(options, tiny_causal_encoder):
    write_items(options, {1: "soap", 2: "\u200b"})
    summary = run_embed(replace(options, encoder=str(tiny_causal_encoder)))
    table = read_embeddings(options.output)
    assert table.present.tolist() == table.vectors.any(axis=1).tolist()
    assert summary.items == summary.embedded + summary.without_text


def test_repeated_items_are_reported(options):
    pq.write_table(pa.table({"item_id": [1, 1, 2, 1], "title": ["soap", "soap", "gel", "lamp"]}), options.items)
    summary = run_embed(options)
    assert (summary.items, summary.repeated_rows, summary.conflicting_rows) == (2, 2, 1)
    assert "2 rows, 1 with another text" in describe_embedding(summary, options.output)


@pytest.mark.parametrize("name", ["notes.txt", "part-00000.parquet", "log.parquet", "deep/part-00000.parquet"])
def test_a_directory_that_holds_something_else_is_refused(options, tmp_path, name):
    write_items(options, {1: "soap"})
    (tmp_path / "out" / "deep").mkdir(parents=True)
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "out" / name)
    before = (tmp_path / "out" / name).read_bytes()
    with pytest.raises(InputError, match="holds files that are not ours"):
        run_embed(options)
    assert (tmp_path / "out" / name).read_bytes() == before


def test_collaborative_embeddings_are_not_overwritten(options):
    write_items(options, {1: "soap"})
    own = EmbeddingMetadata("collaborative", "gru4rec", "1", "none", 2)
    write_embeddings(
        EmbeddingTable(pa.array([1]), np.ones((1, 2), np.float32), np.array([True]), None, own), options.output
    )
    with pytest.raises(InputError, match="holds files that are not ours") as error:
        run_embed(options)
    assert error.value.found == "part-00000.parquet with collaborative embeddings"


def test_describe_says_what_was_done(options):
    write_items(options, {1: "soap", 2: None})
    summary = replace(run_embed(options), seconds=0.5)
    assert describe_embedding(summary, "place").splitlines() == [
        f"Embedded title of 2 items with {summary.metadata}.",
        "New or changed: 1 item, 1 distinct text at 2 a second.",
        "Without text, judged by behaviour alone: 1 item.",
        "  Embeddings         place",
    ]


def test_a_second_run_into_one_directory_is_refused(options, encoded):
    write_items(options, {1: "red dress"})
    with locked(options.output), pytest.raises(InputError, match="Another run is writing"):
        run_embed(options)
    assert encoded == []
    run_embed(options)
    assert encoded == ["red dress"]


def test_embeddings_reach_the_disk(options, encoded, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    write_items(options, {1: "red dress"})
    run_embed(options)
    assert os.stat(f"{options.output}/part-00000.parquet").st_ino in synced


@pytest.mark.parametrize("glob", ["", "/**.parquet", "/*/*.parquet"])
def test_an_output_inside_the_catalogue_is_refused_before_anything_is_read(glob, tmp_path):
    items = tmp_path / "items"
    with pytest.raises(InputError, match="lies inside the input"):
        run_embed(EmbedOptions(f"{items}{glob}", str(items / "embeddings")))
    assert not items.exists()


def test_a_language_that_the_encoder_does_not_know_is_told_and_noted(options):
    write_items(options, {1: "刀 红", 2: "刀 蓝", 3: "red dress"})
    summary = run_embed(options)
    told = describe_embedding(summary, "place")
    assert "WARNING: the encoder tiny-bert does not know the language of these texts" in told
    assert "67% of all tokens are unknown to it, 67% of the texts share their vector with another text" in told
    assert "--encoder e5" in told
    assert read_notes(options.output) == summary.notes
    assert run_embed(options).notes == summary.notes


def test_what_was_left_out_of_the_catalogue_is_told_and_noted(options):
    columns = {
        "item_id": [1, 2, None],
        "title": ["<b>red</b> dress", "soap", "gel"],
        "link": ["http://a", "http://b", ""],
    }
    pq.write_table(pa.table(columns), options.items)
    summary = run_embed(options)
    assert describe_embedding(summary, "place").splitlines()[2:-1] == [
        "Left out, without a usable id: 1 row (null item_id 1).",
        "With HTML in the text, which was removed: 1 row.",
        "Columns left out because they hold no text: link (addresses).",
    ]
    assert read_notes(options.output).catalogue == summary.notes.catalogue
