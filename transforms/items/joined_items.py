"""Joins items with their vectors: files on disk, written once per run and memory-mapped by every worker.

The items are the union of the two embedding tables. An item with text but without a collaborative vector (it is new, or
was too rare to be trained) borrows one from its nearest neighbours by text. That is done here, once for all workers.
"""

import dataclasses
import hashlib
import io
import json
import math
from functools import cached_property
from typing import Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import ArtifactError
from ...models.core.item_vectors import PackedItemVectors
from ..contract.arrow_types import one_chunk
from ..contract.hashing import hash_values
from ..files.local_copy import shared_copy
from ..files.storage import is_local, join, make_directory, read_bytes, write_atomically
from ..files.tables import read_arrow, write_arrow
from .embedding_files import read_embeddings
from .embedding_table import EmbeddingTable, align, fingerprint
from .hash_index import HashIndex
from .kept_lenders import LenderKeeping

_ITEMS, _SEMANTIC, _COLLABORATIVE, _DESCRIPTION = "items.arrow", "semantic.npy", "collaborative.npy", "description.json"
_HASHES, _ROWS = "hashes.npy", "rows.npy"
_FLAGS = ("has_semantic", "has_collaborative", "borrowed")

ITEM_SHARD_BYTES = 256 << 20
"""About this many bytes of vectors make an item shard."""

BROADCAST_BYTES = 64 << 30
"""More bytes of vectors than this are not copied to every machine. They are joined by `shuffle_join`."""

Join = Literal["broadcast", "shuffle"]


@dataclasses.dataclass(frozen=True)
class JoinedItems:
    """Items with their vectors, in ascending order of id; V items."""

    item_ids: pa.Array
    """string or int64 [V]."""
    texts: pa.Array
    """large_string [V]; the text that was embedded, null where unknown."""
    vectors: PackedItemVectors
    """[V, ...]; the large arrays are memory-mapped."""
    borrowed: np.ndarray
    """bool [V]; the collaborative vector comes from neighbours by text."""
    description: dict
    """Metadata and fingerprint of the semantic table, for the manifest."""
    index: HashIndex | None = None
    """Index of the ids; None until they have been written and opened."""

    def lookup(self, item_ids: pa.Array) -> np.ndarray:
        """Returns the row of each id, int64 [n]; -1 for an unknown item.

        Raises:
            ArtifactError: The log has string ids and the embeddings integers, or the other way round.
        """
        if pa.types.is_integer(item_ids.type) != pa.types.is_integer(self.item_ids.type):
            raise ArtifactError(
                "Item ids in the log and in the embeddings have different types",
                code="IDS-LOG",
                found=f"{item_ids.type} in the log, {self.item_ids.type} in the embeddings",
                expected="strings in both or integers in both",
                fix="cast the ids on one side",
            )
        item_ids = item_ids.cast(self.item_ids.type)
        if self.index is not None:
            return self.index.lookup(item_ids, self.item_ids)
        rows = pc.index_in(item_ids, value_set=self.item_ids)
        return rows.fill_null(-1).to_numpy().astype(np.int64)

    def fingerprints(self, rows: np.ndarray) -> np.ndarray:
        """Returns a fingerprint of the vectors of the given rows, uint64 [n, 2]. Each is computed once."""
        found, known = self._fingerprints
        new = np.unique(rows[~known[rows]])
        found[new], known[new] = item_fingerprints(self.take(new)), True
        return found[rows]

    @cached_property
    def _fingerprints(self) -> tuple[np.ndarray, np.ndarray]:
        """Those that have been computed, [V + 1, 2], and which these are, [V + 1]. Row -1, the last, is none's."""
        return np.zeros((len(self.item_ids) + 1, 2), np.uint64), np.zeros(len(self.item_ids) + 1, bool)

    def take(self, rows: np.ndarray) -> PackedItemVectors:
        """Returns the vectors of the given rows, int64 [n]. Row -1 stands for an item without any."""
        place = np.maximum(rows, 0)
        return PackedItemVectors(
            np.asarray(self.vectors.collaborative[place]), np.asarray(self.vectors.semantic[place]), *self.flags(rows)
        )

    def flags(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns which of the given rows have collaborative vectors, and which have semantic ones, bool [n] each."""
        known, place = rows >= 0, np.maximum(rows, 0)
        return self.vectors.has_collaborative[place] & known, self.vectors.has_semantic[place] & known


def item_fingerprints(vectors: PackedItemVectors) -> np.ndarray:
    """Returns a fingerprint of all that the model reads of each item, uint64 [V, 2]."""
    found = np.zeros((len(vectors.has_semantic), 2), np.uint64)
    for item, (learned, has_text) in enumerate(zip(vectors.has_collaborative, vectors.has_semantic, strict=True)):
        digest = hashlib.blake2b(bytes((bool(learned), bool(has_text))), digest_size=16)
        if learned:
            digest.update(vectors.collaborative[item].tobytes())
        if has_text:
            digest.update(vectors.semantic[item].tobytes())
        found[item] = np.frombuffer(digest.digest(), np.uint64)
    return found


def join_embedding_tables(
    semantic: EmbeddingTable, collaborative: EmbeddingTable, keeping: LenderKeeping | None = None
) -> JoinedItems:
    """Returns all items that either table knows.

    Args:
        semantic: The vectors of texts.
        collaborative: What was learned from interactions.
        keeping: Where it is kept which items borrow from which, and found again. None: nowhere.

    Raises:
        ArtifactError: The tables' item ids have different types.
    """
    from ...models.vectors.neighbours import borrow_from, lenders_of

    if semantic.item_ids.type != collaborative.item_ids.type:
        raise ArtifactError(
            "Item ids in the embeddings and in the model have different types",
            code="IDS-MODEL",
            found=f"{semantic.item_ids.type} in the embeddings, {collaborative.item_ids.type} in the model",
            expected="the ids that the model was trained with",
            fix="embed the catalogue with the ids of the log, and train again",
        )
    item_ids = pc.unique(pa.chunked_array([semantic.item_ids, collaborative.item_ids]))
    item_ids = item_ids.take(pc.array_sort_indices(item_ids))
    semantic_vectors, has_semantic = align(semantic, item_ids)
    collaborative_vectors, has_collaborative = align(collaborative, item_ids)
    borrowed, lenders = has_semantic & ~has_collaborative, has_semantic & has_collaborative
    if borrowed.any() and lenders.any():
        find = lenders_of if keeping is None else keeping.find
        found = find(semantic_vectors[lenders], semantic_vectors[borrowed])
        collaborative_vectors[borrowed] = borrow_from(collaborative_vectors[lenders], found)
        has_collaborative = has_collaborative | borrowed
    texts = pa.nulls(len(item_ids), pa.large_string())
    if semantic.texts is not None:
        texts = semantic.texts.cast(pa.large_string()).take(pc.index_in(item_ids, value_set=semantic.item_ids))
    description = {**semantic.metadata.to_dict(), "fingerprint": fingerprint(semantic)}
    vectors = PackedItemVectors(collaborative_vectors, semantic_vectors, has_collaborative, has_semantic)
    return JoinedItems(item_ids, texts, vectors, borrowed, description)


def write_joined_items(items: JoinedItems, directory: str) -> None:
    """Writes items in the form that `open_joined_items` memory-maps. The description comes last."""
    vectors = items.vectors
    _write_arrays(directory, {_SEMANTIC: vectors.semantic, _COLLABORATIVE: vectors.collaborative})
    _write_items(items, directory)


def _write_arrays(directory: str, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        write_atomically(join(directory, name), lambda file, array=array: np.save(file, array))


def _write_items(items: JoinedItems, directory: str) -> None:
    """Writes what `open_items` reads. The description comes last."""
    index = HashIndex.of(items.item_ids)
    _write_arrays(directory, {_HASHES: index.hashes, _ROWS: index.rows})
    table = pa.table(
        {
            "item_id": items.item_ids,
            "text": items.texts,
            "has_semantic": items.vectors.has_semantic,
            "has_collaborative": items.vectors.has_collaborative,
            "borrowed": items.borrowed,
        }
    )
    write_arrow(join(directory, _ITEMS), table)
    text = json.dumps(items.description).encode()
    write_atomically(join(directory, _DESCRIPTION), lambda file: file.write(text))


def write_in_item_shards(items: JoinedItems, directory: str, item_shards: int) -> None:
    """Writes the vectors in a directory for each item shard, and all items without vectors beside them."""
    shard = item_shard(items.item_ids, item_shards)
    for number in range(item_shards):
        rows = np.flatnonzero(shard == number)
        part = JoinedItems(
            item_ids=items.item_ids.take(pa.array(rows)),
            texts=items.texts.take(pa.array(rows)),
            vectors=items.take(rows),
            borrowed=items.borrowed[rows],
            description=items.description,
        )
        write_joined_items(part, item_shard_directory(directory, number, item_shards))
    _write_items(items, directory)


def item_shard(item_ids: pa.Array, item_shards: int) -> np.ndarray:
    """Returns the shard of each item, int64 [n]. It depends on the value of the id alone, not on its width."""
    return (hash_values(item_ids) % np.uint64(item_shards)).astype(np.int64)


def item_shard_directory(directory: str, shard: int, item_shards: int) -> str:
    """Returns the directory that `write_in_item_shards` puts one shard in."""
    return join(directory, f"items-{shard:05d}-of-{item_shards:05d}")


def open_items(directory: str) -> JoinedItems:
    """Opens items without their vectors, which would be copied to this machine if the directory is a remote one."""
    table = read_arrow(join(directory, _ITEMS)).combine_chunks()
    none = np.zeros((len(table), 0), np.float32)
    flags = {name: table[name].to_numpy() for name in _FLAGS}
    return JoinedItems(
        item_ids=one_chunk(table["item_id"]),
        texts=one_chunk(table["text"]),
        vectors=PackedItemVectors(none, none, flags["has_collaborative"], flags["has_semantic"]),
        borrowed=flags["borrowed"],
        description=json.loads(read_bytes(join(directory, _DESCRIPTION))),
        index=HashIndex(_load(directory, _HASHES), _load(directory, _ROWS)),
    )


def _load(directory: str, name: str) -> np.ndarray:
    """Opens an array. It is memory-mapped if the file is on this machine."""
    path = join(directory, name)
    return np.load(path, mmap_mode="r") if is_local(path) else np.load(io.BytesIO(read_bytes(path)))


def open_joined_items(directory: str) -> JoinedItems:
    """Opens items written by `write_joined_items`. Remote files are first copied, once for the whole machine."""
    # The memory maps stay valid when the files of the copy are deleted.
    with shared_copy(directory) as local:
        items = open_items(local)
        collaborative, semantic = _load(local, _COLLABORATIVE), _load(local, _SEMANTIC)
    vectors = dataclasses.replace(items.vectors, collaborative=collaborative, semantic=semantic)
    return dataclasses.replace(items, vectors=vectors)


def choose_item_shards(join: Join | None, item_bytes: int) -> int | None:
    """Returns how many parts the joined items are cut into; None if every machine gets them whole.

    Args:
        join: What the user asks for; None: by the size of the vectors alone.
        item_bytes: Size of all vectors.
    """
    if join == "broadcast" or (join is None and item_bytes <= BROADCAST_BYTES):
        return None
    return max(math.ceil(item_bytes / ITEM_SHARD_BYTES), 1)


@dataclasses.dataclass
class JoinItems(beam.PTransform):
    """Pipeline -> one element: the directory of the items joined from two embedding tables."""

    embeddings: str
    """Directory of the semantic table."""
    collaborative: str
    """Directory of the collaborative table."""
    directory: str
    """Where to write the items."""
    item_shards: int | None = None
    """None: all in one, for `open_joined_items`. Otherwise see `write_in_item_shards`."""
    keeping: LenderKeeping | None = None
    """See `join_embedding_tables`."""

    def expand(self, input_or_inputs):
        """Applies the join to a pipeline."""
        return input_or_inputs | beam.Impulse() | "Join embedding tables" >> beam.Map(self._join)

    def _join(self, _: bytes) -> str:
        make_directory(self.directory)
        semantic = read_embeddings(self.embeddings, kind="semantic")
        collaborative = read_embeddings(self.collaborative, kind="collaborative")
        items = join_embedding_tables(semantic, collaborative, self.keeping)
        if self.item_shards is None:
            write_joined_items(items, self.directory)
        else:
            write_in_item_shards(items, self.directory, self.item_shards)
        return self.directory
