"""A shard of users with its scores, and the forms in which it waits on disk or travels between workers."""

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from apache_beam.coders.coders import Coder
from apache_beam.coders.typecoders import registry

from ..contract.columns import INTERNAL_PREFIX, ROW, SIMILARITY_COLUMNS
from ..contract.table_coder import TableCoder
from ..read.ordering import OrderedShard

if TYPE_CHECKING:
    from ...models.detector.scoring import Scores


@dataclasses.dataclass(frozen=True)
class ScoredShard:
    """A shard's interactions in order, with their scores."""

    shard: int
    """Number of the shard."""
    ordered: OrderedShard
    """The interactions."""
    scores: "Scores"
    """Their scores, entry by entry."""
    known: np.ndarray
    """bool [rows]; the item has a vector in at least one modality."""
    has_text: np.ndarray
    """bool [rows]; the item has a semantic vector."""
    seconds: dict[str, float]
    """Worker seconds spent so far, by step."""


_ITEM, _USER, _SCORED, _WEAKEST, _KNOWN, _HAS_TEXT = (
    f"{INTERNAL_PREFIX}{name}" for name in ("item", "user", "scored", "weakest", "known", "has_text")
)


_INTERNAL = (_ITEM, _USER, ROW, "noise_probability", *SIMILARITY_COLUMNS, _SCORED, _WEAKEST, _KNOWN, _HAS_TEXT)


def to_table(scored: ScoredShard) -> pa.Table:
    """Returns a scored shard as one table, for `from_table`."""
    ordered, scores = scored.ordered, scored.scores
    lengths = np.diff(ordered.offsets)
    internal = (
        pa.DictionaryArray.from_arrays(pa.array(ordered.items), ordered.item_ids),
        np.repeat(np.arange(len(lengths)), lengths),
        ordered.rows,
        scores.noise_probability,
        *scores.similarities.T,
        scores.scored,
        scores.weakest,
        scored.known,
        scored.has_text,
    )
    table = ordered.table
    for name, values in zip(_INTERNAL, internal, strict=True):
        array = pa.array(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
        table = table.append_column(name, array)
    return table.combine_chunks()


def from_table(shard: int, table: pa.Table) -> ScoredShard:
    """Returns the scored shard that `to_table` turned into a table."""
    from ...models.detector.scoring import Scores

    column = {name: table[name].combine_chunks() for name in _INTERNAL}
    values = {name: array.to_numpy(zero_copy_only=False) for name, array in column.items() if name != _ITEM}
    offsets = np.append(0, np.cumsum(np.bincount(values[_USER]))).astype(np.int64)
    items = column[_ITEM]
    data = table.drop_columns(list(_INTERNAL))
    ordered = OrderedShard(data, offsets, items.dictionary, items.indices.to_numpy(), values[ROW])
    scores = Scores(
        noise_probability=values["noise_probability"],
        similarities=np.stack([values[name] for name in SIMILARITY_COLUMNS], axis=1),
        scored=values[_SCORED],
        weakest=values[_WEAKEST],
    )
    return ScoredShard(shard, ordered, scores, values[_KNOWN], values[_HAS_TEXT], {})


class ScoredShardCoder(Coder):
    """Scored shards as Arrow streams behind a few numbers in JSON; see `coders` for why they have a coder."""

    def encode(self, value: ScoredShard) -> bytes:
        """Returns the bytes of a shard."""
        numbers = json.dumps([value.shard, value.seconds]).encode()
        return len(numbers).to_bytes(4) + numbers + TableCoder().encode(to_table(value))

    def decode(self, encoded: bytes) -> ScoredShard:
        """Returns the shard."""
        begin = 4 + int.from_bytes(encoded[:4])
        shard, seconds = json.loads(encoded[4:begin])
        return dataclasses.replace(from_table(shard, TableCoder().decode(encoded[begin:])), seconds=seconds)

    def estimate_size(self, value: ScoredShard) -> int:
        """Returns about how many bytes `encode` would."""
        return value.ordered.table.nbytes + value.scores.similarities.nbytes


registry.register_coder(ScoredShard, ScoredShardCoder)
