"""The embed command: an item catalogue in, item embeddings out. A rerun embeds only texts that are new."""

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import IadsrError
from ...models.encoders.coverage import Coverage
from ...models.encoders.packaged import packaged_space
from ...transforms.files.found_files import SkippedFile
from ...transforms.files.storage import TEMPORARY_PREFIX, delete, join, list_names
from ...transforms.items.embedding_files import PART_NAME, read_embeddings, read_kind, read_notes, write_embeddings
from ...transforms.items.embedding_notes import EmbeddingNotes
from ...transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, fingerprint
from ...transforms.items.item_texts import ItemTexts, read_item_texts
from ...transforms.run.output_directory import locked, refuse_foreign, refuse_inside
from ..engines.progress import Progress, Task
from .command_options import EmbedOptions
from .messages import describe_embedding
from .results import Result

if TYPE_CHECKING:
    from ...models.encoders.text_encoder import TextEncoder

UNFINISHED = ".unfinished"
"""Folder in the output directory for what a run has embedded so far."""

COVERAGE_TEXTS = 10_000
"""At most this many texts are looked at to know whether the encoder knows their language."""

CHUNK_TEXTS = 16_384
"""Texts between two saves: enough of every length for full batches, and minutes of work on one core."""


@dataclass(frozen=True, repr=False)
class EmbedSummary(Result):
    """What `iadsr embed` did: items = embedded + reused + without_text."""

    output: str
    """Directory of the embeddings."""

    items: int
    """Items in the catalogue."""
    embedded: int
    """Items whose text was embedded in this run."""
    reused: int
    """Items whose vector was there from an earlier run."""
    without_text: int
    """Items without any text: they get no vector."""
    removed: int
    """Items of the earlier run that the catalogue no longer holds."""
    repeated_rows: int
    """Catalogue rows left out because an earlier row has the same item id."""
    conflicting_rows: int
    """Those of them whose text is another than the first row's."""
    texts: int
    """Distinct texts embedded in this run: items of equal text share one."""
    seconds: float
    """Time that the encoder took."""
    metadata: EmbeddingMetadata
    """What made the vectors, and from which columns."""
    fingerprint: str
    """Fingerprint of the embeddings."""
    replaced: str | None
    """Why vectors that were in the output directory could not be used again; None if there were none or they could."""
    skipped: tuple[SkippedFile, ...]
    """Files of the catalogue that are left out because they are not Parquet."""
    reading: tuple[str, ...]
    """What looks wrong or may surprise in how the files of the catalogue were found."""
    notes: EmbeddingNotes
    """What was left out of the catalogue or changed in it, and how well the encoder knows its language."""

    def __str__(self) -> str:
        """Says how many items were embedded, reused, or have no text."""
        return describe_embedding(self, self.output)


def run_embed(options: EmbedOptions, progress: Progress | None = None) -> EmbedSummary:
    """Embeds the text of every item of a catalogue and writes the vectors.

    A vector of an earlier run is used again if encoder, revision, pooling and text are the same. Items that the
    catalogue no longer holds are removed. A run that was interrupted resumes where it last saved.

    Raises:
        InputError: The catalogue, the encoder or the output directory cannot be used as given.
    """
    with (progress or Progress(None)).task("Embedding items") as task:
        refuse_inside(options.output, options.items, ["part-00000.parquet"])
        _check_output(options.output)
        catalogue = read_item_texts(options.items, item_column=options.item_column, text_columns=options.text_columns)
        with locked(options.output):
            earlier = _embedded_before(options.output, catalogue, options.encoder)
            if earlier is not None:
                delete(join(options.output, UNFINISHED))
                notes = replace(read_notes(options.output), catalogue=catalogue.notes)
                return _summary(options.output, catalogue, earlier, notes, reused=earlier.present)
        # Loading one takes seconds, also of a night on which nothing is new.
        from ...models.encoders.load_encoder import load_encoder

        encoder = load_encoder(options.encoder)
        with locked(options.output):
            return _embed_and_write(options.output, catalogue, encoder, task)


def _embedded_before(output: str, catalogue: ItemTexts, encoder: str) -> EmbeddingTable | None:
    """Returns the embeddings in a directory if they are those of this very catalogue by this packaged encoder."""
    space = packaged_space(encoder)
    if space is None or not any(not name.startswith(".") for name in list_names(output)):
        return None
    try:
        earlier, notes = read_embeddings(output), read_notes(output)
    except IadsrError:
        return None
    made_by = earlier.metadata.encoder, earlier.metadata.revision, earlier.metadata.pooling
    same = (
        made_by == space
        and earlier.metadata.text_columns == catalogue.text_columns
        and earlier.item_ids.equals(catalogue.item_ids)
        and earlier.texts is not None
        and earlier.texts.equals(catalogue.texts)
        and notes.catalogue == catalogue.notes
    )
    return earlier if same else None


def _embed_and_write(output: str, catalogue: ItemTexts, encoder: "TextEncoder", task: Task) -> EmbedSummary:
    metadata = EmbeddingMetadata(
        "semantic", encoder.name, encoder.revision, encoder.pooling, encoder.dimension, catalogue.text_columns
    )
    encoded = catalogue.texts.dictionary_encode()
    distinct, rows = encoded.dictionary, encoded.indices.fill_null(-1).to_numpy()
    vectors = np.zeros((len(distinct), encoder.dimension), np.float32)  # [distinct texts, D]
    earlier, replaced = _read_earlier(output, metadata)
    if earlier is not None and earlier.texts is not None:
        reused = _reuse(vectors, distinct, earlier, earlier.texts)
    else:
        reused = np.zeros(len(distinct), bool)

    missing = np.flatnonzero(~reused)
    started = time.monotonic()
    if len(missing):
        texts = distinct.take(pa.array(missing))
        vectors[missing] = _encode(encoder, texts, metadata, join(output, UNFINISHED), task)
    seconds = time.monotonic() - started

    # A text may hold no token that the encoder knows. Its vector of zeros counts as none.
    present = (rows >= 0) & np.any(vectors, axis=1)[rows]
    item_vectors = vectors[rows]  # [V, D]
    item_vectors[~present] = 0
    table = EmbeddingTable(catalogue.item_ids, item_vectors, present, catalogue.texts, metadata)
    notes = EmbeddingNotes(catalogue.notes, _measure_coverage(encoder, distinct))
    # Files that are right already keep their times: a run of `clean` that was interrupted can then be resumed.
    if earlier is None or fingerprint(earlier) != fingerprint(table) or read_notes(output).to_dict() != notes.to_dict():
        write_embeddings(table, output, notes=notes)
    delete(join(output, UNFINISHED))
    return _summary(
        output,
        catalogue,
        table,
        notes,
        reused=present & reused[rows],
        removed=_count_removed(earlier, catalogue),
        texts=len(missing),
        seconds=seconds,
        replaced=replaced,
    )


def _summary(
    output: str,
    catalogue: ItemTexts,
    table: EmbeddingTable,
    notes: EmbeddingNotes,
    *,
    reused: np.ndarray,
    removed: int = 0,
    texts: int = 0,
    seconds: float = 0,
    replaced: str | None = None,
) -> EmbedSummary:
    """Returns what a run did; `reused`: the items whose vectors were there, bool [V]."""
    return EmbedSummary(
        output=output,
        items=len(table),
        embedded=int((table.present & ~reused).sum()),
        reused=int(reused.sum()),
        without_text=int((~table.present).sum()),
        removed=removed,
        repeated_rows=catalogue.repeated_rows,
        conflicting_rows=catalogue.conflicting_rows,
        texts=texts,
        seconds=seconds,
        metadata=table.metadata,
        fingerprint=fingerprint(table),
        replaced=replaced,
        skipped=catalogue.skipped,
        reading=catalogue.reading,
        notes=notes,
    )


def _measure_coverage(encoder: "TextEncoder", texts: pa.Array) -> Coverage:
    """Measures how well the encoder knows distinct texts, by some of them that lie evenly among all."""
    step = max(-(-len(texts) // COVERAGE_TEXTS), 1)
    return encoder.coverage(texts.take(pa.array(np.arange(0, len(texts), step))).to_pylist())


def _check_output(output: str) -> None:
    """Refuses a directory that holds anything but the embeddings of an earlier run."""
    names = [name for name in list_names(output) if not name.startswith((f"{UNFINISHED}/", TEMPORARY_PREFIX))]
    refuse_foreign(output, [found for found in (_foreign(output, name) for name in names) if found])


def _foreign(output: str, name: str) -> str | None:
    """Says what a file is; None if it is ours."""
    if not re.fullmatch(PART_NAME, name):
        return name
    try:
        kind = read_kind(join(output, name))
    except IadsrError:
        return None  # damaged, but named like a part of ours: it will be replaced
    if kind == "semantic":
        return None
    return f"{name} with {f'{kind} embeddings' if kind else 'other data'}"


def _read_earlier(output: str, metadata: EmbeddingMetadata) -> tuple[EmbeddingTable | None, str | None]:
    """Returns the vectors of an earlier run, or None and the reason why they cannot be used, if there are any."""
    if not any(not name.startswith(".") for name in list_names(output)):
        return None, None
    try:
        earlier = read_embeddings(output)
    except IadsrError as error:
        return None, f"they are damaged ({error.what})"
    if earlier.metadata.space != metadata.space:
        return None, f"they were made by {earlier.metadata}"
    if earlier.texts is None:
        return None, "they do not tell which text they were made from"
    return earlier, None


def _reuse(vectors: np.ndarray, texts: pa.Array, table: EmbeddingTable, table_texts: pa.Array) -> np.ndarray:
    """Copies the vectors that a table has for some of the texts into vectors [n, D]; returns for which, bool [n]."""
    usable = table_texts.filter(pa.array(table.present)).cast(texts.type)
    source = pc.index_in(texts, value_set=usable).fill_null(-1).to_numpy()
    vectors[source >= 0] = table.vectors[table.present][source[source >= 0]]
    return source >= 0


def _encode(
    encoder: "TextEncoder",
    texts: pa.Array,
    metadata: EmbeddingMetadata,
    unfinished: str,
    task: Task,
) -> np.ndarray:
    """Embeds distinct texts in chunks, float32 [n, D]. Saves what is done, so that an interrupted run can resume.

    What is saved is an embedding table per chunk, whose item ids are the texts themselves.
    """
    vectors = np.zeros((len(texts), encoder.dimension), np.float32)  # [n, D]
    missing = np.flatnonzero(~_restore(vectors, texts, metadata, unfinished))
    saved = len(list_names(unfinished))
    for start in range(0, len(missing), CHUNK_TEXTS):
        rows = missing[start : start + CHUNK_TEXTS]
        chunk = texts.take(pa.array(rows))

        def report(count: int, _: int, before: int = len(texts) - len(missing) + start) -> None:
            task.advance_to(before + count, len(texts))

        vectors[rows] = encoder.encode(chunk.to_pylist(), report)
        if start + len(rows) < len(missing):
            part = EmbeddingTable(chunk.cast(pa.string()), vectors[rows], np.any(vectors[rows], axis=1), None, metadata)
            write_embeddings(part, join(unfinished, f"{saved + start // CHUNK_TEXTS:05d}"))
    return vectors


def _restore(vectors: np.ndarray, texts: pa.Array, metadata: EmbeddingMetadata, unfinished: str) -> np.ndarray:
    """Copies what an interrupted run saved into vectors [n, D]; returns for which texts, bool [n]."""
    if list_names(unfinished):
        try:
            table = read_embeddings(unfinished)
            if table.metadata.space == metadata.space:
                return _reuse(vectors, texts, table, table.item_ids)
        except IadsrError:
            pass  # only the saved work is lost
        delete(unfinished)
    return np.zeros(len(texts), bool)


def _count_removed(earlier: EmbeddingTable | None, catalogue: ItemTexts) -> int:
    if earlier is None or earlier.item_ids.type != catalogue.item_ids.type:
        return len(earlier) if earlier else 0
    return len(earlier) - pc.is_in(earlier.item_ids, value_set=catalogue.item_ids).true_count
