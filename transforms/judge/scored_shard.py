"""A shard of users with its scores, and the file in which it waits for the drop plan."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..contract.columns import INTERNAL_PREFIX, ROW, SIMILARITY_COLUMNS
from ..files.tables import read_arrow, write_arrow
from ..read.ordering import OrderedShard

if TYPE_CHECKING:
    from ...models.detector.scoring import Scores

_ITEM, _USER, _PROBABILITY, _SCORED, _WEAKEST, _KNOWN, _HAS_TEXT = (
    f"{INTERNAL_PREFIX}{name}"
    for name in ("item", "user", "noise_probability", "scored", "weakest", "known", "has_text")
)
_SIMILARITIES = tuple(f"{INTERNAL_PREFIX}{name}" for name in SIMILARITY_COLUMNS)
_INTERNAL = (_ITEM, _USER, ROW, _PROBABILITY, *_SIMILARITIES, _SCORED, _WEAKEST, _KNOWN, _HAS_TEXT)


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


@dataclasses.dataclass(frozen=True)
class StagedShard:
    """A scored shard that waits in its file: what travels between workers in its place."""

    shard: int
    """Number of the shard, which names the file (`StagingPaths.scored`)."""
    seconds: dict[str, float]
    """As in ScoredShard; none if an earlier start of the run has scored the shard."""


def stage_shard(path: str, scored: ScoredShard) -> None:
    """Writes a scored shard to a file, for `read_staged_shard`.

    Raises:
        InputError: The file cannot be written.
    """
    write_arrow(path, to_table(scored))


def read_staged_shard(path: str, staged: StagedShard) -> ScoredShard:
    """Reads a shard that `stage_shard` wrote.

    Raises:
        InputError: The file cannot be read.
    """
    return dataclasses.replace(from_table(staged.shard, read_arrow(path)), seconds=staged.seconds)


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
    """Returns the scored shard that `to_table` turned into a table, without its seconds."""
    from ...models.detector.scoring import Scores

    column = {name: table[name].combine_chunks() for name in _INTERNAL}
    values = {name: array.to_numpy(zero_copy_only=False) for name, array in column.items() if name != _ITEM}
    offsets = np.append(0, np.cumsum(np.bincount(values[_USER]))).astype(np.int64)
    items = column[_ITEM]
    data = table.drop_columns(list(_INTERNAL))
    ordered = OrderedShard(data, offsets, items.dictionary, items.indices.to_numpy(), values[ROW])
    scores = Scores(
        noise_probability=values[_PROBABILITY],
        similarities=np.stack([values[name] for name in _SIMILARITIES], axis=1),
        scored=values[_SCORED],
        weakest=values[_WEAKEST],
    )
    return ScoredShard(shard, ordered, scores, values[_KNOWN], values[_HAS_TEXT], {})
