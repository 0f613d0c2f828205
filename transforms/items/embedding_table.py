"""Embedding tables in memory: the vectors of items, and the metadata that says what made them.

You need this wherever vectors are passed on, compared or matched with a model. `embedding_files` keeps such tables on
disk.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import ArtifactError

UNKNOWN = "unknown"
"""Value of metadata that are not known, because another program made the vectors."""

EmbeddingKind = Literal["semantic", "collaborative"]
"""Whether vectors were made from the items' texts or from the interactions with them."""


@dataclass(frozen=True)
class EmbeddingMetadata:
    """What made the vectors of a table. Vectors of two tables can be compared only if their `space` is equal."""

    kind: EmbeddingKind
    """Whether the vectors come from the items' texts or from the interactions."""
    encoder: str
    """Name of the text encoder. For collaborative vectors the backbone. For files of other programs "unknown"."""
    revision: str
    """Package version, commit or content hash of the encoder. For collaborative vectors the model's fingerprint."""
    pooling: str
    """How the vectors of tokens became one vector: "mean", "last" or "cls". For collaborative vectors "none"."""
    dimension: int
    """Length of every vector."""
    text_columns: tuple[str, ...] = ()
    """The catalogue's columns whose text was embedded, in order."""

    @property
    def space(self) -> tuple[str, str, str, str, int]:
        """What must be equal so that vectors can be compared.

        The text columns are not part of it, because every catalogue has its own names for them.
        """
        return self.kind, self.encoder, self.revision, self.pooling, self.dimension

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as values that JSON can hold, for a model's config or a manifest."""
        return dataclasses.asdict(self) | {"text_columns": list(self.text_columns)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EmbeddingMetadata":
        """Builds metadata from what `to_dict` returned. Unknown keys are ignored.

        Raises:
            KeyError, TypeError or ValueError: A field is missing or has an unusable value.
        """
        if values["kind"] not in ("semantic", "collaborative"):
            raise ValueError(f"kind is {values['kind']!r}")
        if type(values["dimension"]) is not int or values["dimension"] < 1:
            raise ValueError(f"dimension is {values['dimension']!r}")
        return cls(
            kind=values["kind"],
            encoder=str(values["encoder"]),
            revision=str(values["revision"]),
            pooling=str(values["pooling"]),
            dimension=values["dimension"],
            text_columns=tuple(str(name) for name in values.get("text_columns", ())),
        )

    def __str__(self) -> str:
        revision = self.revision if len(self.revision) <= 16 else self.revision[:12]
        pooling = "" if self.pooling == "none" else f"{self.pooling} pooling, "
        return f"{self.encoder} (revision {revision}, {pooling}{self.dimension} dimensions)"


@dataclass(frozen=True)
class EmbeddingTable:
    """The vectors of V items. Each item id occurs once, and none is null."""

    item_ids: pa.Array
    """Array of string or int64 [V]."""
    vectors: np.ndarray
    """float32 [V, D]; zeros if an item has no vector."""
    present: np.ndarray
    """bool [V]: whether the item has a vector."""
    texts: pa.Array | None
    """Array of large_string [V], null if an item has no text. None if the texts were not kept."""
    metadata: EmbeddingMetadata
    """What made the vectors."""

    def __len__(self) -> int:
        return len(self.item_ids)


def fingerprint(table: EmbeddingTable) -> str:
    """Returns a SHA-256 over metadata, item ids and vectors, in hex.

    It does not depend on how the table is cut into files.
    """
    digest = hashlib.sha256(json.dumps(table.metadata.to_dict(), sort_keys=True).encode())
    digest.update(str(table.item_ids.type).encode())
    if pa.types.is_integer(table.item_ids.type):
        digest.update(np.ascontiguousarray(table.item_ids.to_numpy(zero_copy_only=False)).data)
    elif len(table):
        ids = table.item_ids.cast(pa.large_string())
        offsets_buffer, data = ids.buffers()[1:]
        offsets = np.frombuffer(offsets_buffer, np.int64)[ids.offset : ids.offset + len(ids) + 1]
        digest.update(np.diff(offsets).data)
        digest.update(memoryview(data)[offsets[0] : offsets[-1]] if data is not None else b"")
    digest.update(np.ascontiguousarray(table.present).data)
    digest.update(np.ascontiguousarray(stored_vectors(table, slice(None))).data)
    return digest.hexdigest()


def align(table: EmbeddingTable, item_ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of the given items, in the order of the items.

    Args:
        table: The vectors.
        item_ids: Array of string or int64 [n], as `normalise_item_ids` returns them.

    Returns:
        The vectors, float32 [n, D], zeros if an item has none; and which items have one, bool [n].
    """
    source = pc.index_in(item_ids, value_set=table.item_ids).fill_null(-1).to_numpy()
    present = (source >= 0) & table.present[source]
    vectors = table.vectors[source]
    vectors[~present] = 0
    return vectors, present


def check_fit(expected: EmbeddingMetadata, found: EmbeddingMetadata, *, model: str, embeddings: str) -> None:
    """Checks that embeddings come from the same encoder as those that a model was trained on.

    Args:
        expected: Metadata of the table that the model was trained on.
        found: Metadata of the given table.
        model: Path of the model, for the message.
        embeddings: Path of the given table, for the message.

    Raises:
        ArtifactError: EmbeddingKind, encoder, revision, pooling or dimension differ.
    """
    if expected.space != found.space:
        raise ArtifactError(
            f"The model {model} and the embeddings {embeddings} do not belong together",
            code="MODEL-FIT",
            found=f"{found.kind} vectors of {found}",
            expected=f"{expected.kind} vectors of {expected}, as the model was trained on",
            fix=f"embed the items with --encoder {expected.encoder}, or train a new model on these embeddings",
        )


def stored_vectors(table: EmbeddingTable, rows: slice) -> np.ndarray:
    """Returns the vectors of some rows, float32 [n, D], with zeros for items without a vector.

    The result is a view if possible, else a copy.
    """
    vectors = np.asarray(table.vectors[rows], dtype=np.float32)
    present = table.present[rows]
    return vectors if present.all() else np.where(present[:, None], vectors, np.float32(0))
