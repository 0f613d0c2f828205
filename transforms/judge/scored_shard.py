"""A shard of users with its scores, and the file in which it waits for the drop plan."""

import dataclasses

import numpy as np
import pyarrow as pa

from ...models.detector.scores import Scores
from ..contract.columns import INTERNAL_PREFIX, SIMILARITY_COLUMNS
from ..files.tables import read_arrow, write_arrow
from ..read.ordering import OrderedShard
from ..rules.ruled_shard import RuledShard, ruled_shard_from_table, ruled_shard_to_table

_INTERNAL = ("noise_probability", *SIMILARITY_COLUMNS, "scored", "sign", "stray_probability", "known", "has_text")
"""What the scores add to the table, each under INTERNAL_PREFIX."""


@dataclasses.dataclass(frozen=True)
class ScoredShard:
    """A shard's interactions in order, with what the rules have found and with their scores."""

    shard: int
    """Number of the shard."""
    ruled: RuledShard
    """The interactions, and which of them a rule has taken."""
    scores: Scores
    """Their scores, entry by entry. What a rule has taken is not scored."""
    known: np.ndarray
    """bool [rows]; the item has a vector in at least one modality."""
    has_text: np.ndarray
    """bool [rows]; the item has a semantic vector."""
    seconds: dict[str, float]
    """Worker seconds spent so far, by step."""
    taken_over: int = 0
    """Number of users whose scores are those of an earlier run."""

    @property
    def ordered(self) -> OrderedShard:
        """The interactions."""
        return self.ruled.ordered


@dataclasses.dataclass(frozen=True)
class StagedShard:
    """A scored shard that waits in its file: what travels between workers in its place."""

    shard: int
    """Number of the shard, which names the file (`StagingPaths.scored`)."""
    seconds: dict[str, float]
    """As in ScoredShard; none if an earlier start of the run has scored the shard."""
    taken_over: int = 0
    """As in ScoredShard; none likewise."""


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
    scored = from_table(staged.shard, read_arrow(path))
    return dataclasses.replace(scored, seconds=staged.seconds, taken_over=staged.taken_over)


def to_table(scored: ScoredShard) -> pa.Table:
    """Returns a scored shard as one table, for `from_table`."""
    scores = scored.scores
    internal = (
        scores.noise_probability,
        *scores.similarities.T,
        scores.scored,
        scores.sign,
        scores.stray_probability,
        scored.known,
        scored.has_text,
    )
    table = ruled_shard_to_table(scored.ruled)
    for name, values in zip(_INTERNAL, internal, strict=True):
        table = table.append_column(_internal(name), pa.array(np.ascontiguousarray(values)))
    return table.combine_chunks()


def from_table(shard: int, table: pa.Table) -> ScoredShard:
    """Returns the scored shard that `to_table` turned into a table, without its seconds."""
    values = {name: table[_internal(name)].combine_chunks().to_numpy(zero_copy_only=False) for name in _INTERNAL}
    scores = Scores(
        noise_probability=values["noise_probability"],
        similarities=np.stack([values[name] for name in SIMILARITY_COLUMNS], axis=1),
        scored=values["scored"],
        sign=values["sign"],
        stray_probability=values["stray_probability"],
    )
    ruled = ruled_shard_from_table(table.drop_columns([_internal(name) for name in _INTERNAL]))
    return ScoredShard(shard, ruled, scores, values["known"], values["has_text"], {})


def _internal(name: str) -> str:
    return f"{INTERNAL_PREFIX}{name}"
