"""Scores one shard of users: order, join, score; and parks scored shards on disk while a threshold is found."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders.coders import Coder
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import AsSingleton

from .coders import TableCoder
from .files import exists, join, local_copy
from .grouping import Slice, collect
from .joining import Catalogue, open_catalogue
from .loading import LoadedOnce
from .ordering import OrderedShard, order_interactions
from .schema import INTERNAL_PREFIX, ROW, SIMILARITY_COLUMNS, InteractionColumns
from .shuffle_join import collect_catalogue
from .table_files import read_arrow, write_arrow

if TYPE_CHECKING:
    from ..models.iadsr import IADSR
    from ..models.scoring import Scores


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


def score_shard(
    shard: int, table: pa.Table, columns: InteractionColumns, catalogue: Catalogue, model, cells: int = 1
) -> ScoredShard:
    """Orders a shard's interactions and scores every one of them.

    Args:
        shard: Number of the shard.
        table: Valid rows, as `collect` gives them.
        columns: The part that each column plays.
        catalogue: Items and their vectors.
        model: An `iadsr.models.iadsr.IADSR`.
        cells: See `grouping.Sharding`.

    Raises:
        ArtifactError: Item ids in log and catalogue have different types.
    """
    from ..models.scoring import score_sequences

    started = perf_counter()
    ordered = order_interactions(table, columns)
    ordered_at = perf_counter()
    vectors = catalogue.take(catalogue.lookup(ordered.item_ids))  # [V', ...], the shard's own items
    scores = score_sequences(model, ordered.sequences(columns), vectors, cells=cells)
    known = (vectors.has_collaborative | vectors.has_semantic)[ordered.items]
    has_text = vectors.has_semantic[ordered.items]
    seconds = {"order": ordered_at - started, "score": perf_counter() - ordered_at}
    return ScoredShard(shard, ordered, scores, known, has_text, seconds)


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
    from ..models.scoring import Scores

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


@dataclasses.dataclass
class ScoreShards(beam.PTransform):
    """Slices of the log -> ScoredShard, given the catalogue's directory as a side input.

    Where vectors are fetched by `shuffle_join`, they come as a second input, and no worker opens the catalogue. A shard
    that `StageShards` has written already, in a run that was cut off, is read and not scored again; `resuming` has made
    sure that it holds the same rows.
    """

    columns: InteractionColumns
    model_directory: str
    catalogue_directory: AsSingleton
    cells: int
    staging_directory: str

    def expand(self, input_or_inputs):
        """Applies the scorer to a dictionary of `rows` and perhaps `vectors`, both (user shard, Slice)."""
        score = beam.ParDo(_ScoreShard(self), self.catalogue_directory)
        return input_or_inputs | "Group by user shard" >> beam.CoGroupByKey() | "Order, join, score" >> score


class _ScoreShard(beam.DoFn):
    def __init__(self, config: ScoreShards):
        self._columns, self._cells = config.columns, config.cells
        self._model_directory, self._staging_directory = config.model_directory, config.staging_directory
        self._model, self._catalogue = LoadedOnce["IADSR"](), LoadedOnce[Catalogue]()

    def setup(self):
        import torch

        # More threads than cores in all workers together cost far more than they bring.
        torch.set_num_threads(1)

    def process(
        self, element: tuple[int, dict[str, Iterable[Slice]]], catalogue_directory: str
    ) -> Iterator[ScoredShard]:
        shard, slices = element
        path = staged_path(self._staging_directory, shard)
        if exists(path):
            yield unstage((shard, [(path, {})]))
            return
        model = self._model.get(self._load_model)
        table = collect(slices["rows"])
        if "vectors" in slices:
            widths = model.config.collaborative_width, model.config.semantic_dimension
            catalogue = collect_catalogue(slices["vectors"], table[self._columns.item].type, widths)
        else:
            catalogue = self._catalogue.get(lambda: open_catalogue(catalogue_directory))
        yield score_shard(shard, table, self._columns, catalogue, model, self._cells)

    def _load_model(self) -> "IADSR":
        from ..models.iadsr import IADSR

        with local_copy(self._model_directory) as local:
            return IADSR.from_pretrained(local)


@dataclasses.dataclass
class StageShards(beam.PTransform):
    """ScoredShard -> (shard, (path of its file, worker seconds)), for a second pass once all shards are scored."""

    staging_directory: str

    def expand(self, input_or_inputs):
        """Applies the writer to a PCollection of ScoredShard."""
        return input_or_inputs | "Stage" >> beam.Map(self._write)

    def _write(self, scored: ScoredShard) -> tuple[int, tuple[str, dict[str, float]]]:
        path = staged_path(self.staging_directory, scored.shard)
        if not exists(path):
            write_arrow(path, to_table(scored))
        return scored.shard, (path, scored.seconds)


def staged_path(staging_directory: str, shard: int) -> str:
    """Name of a scored shard's file."""
    return join(staging_directory, f"scored-{shard:05d}.arrow")


def unstage(element: tuple[int, Iterable[tuple[str, dict[str, float]]]]) -> ScoredShard:
    """Reads a shard back that `StageShards` wrote, from its outputs grouped by shard: one of each."""
    shard, ((path, seconds),) = element
    return dataclasses.replace(from_table(shard, read_arrow(path)), seconds=seconds)
