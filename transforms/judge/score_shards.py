"""Scores one shard of users: order, join, score; and parks scored shards on disk while a threshold is found."""

import dataclasses
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from ..contract.columns import InteractionColumns
from ..files.loaded_once import LoadedOnce
from ..files.local_copy import local_copy
from ..files.storage import exists, join
from ..files.tables import read_arrow, write_arrow
from ..items.joined_items import JoinedItems, open_joined_items
from ..items.shuffle_join import collect_joined_items
from ..read.ordering import order_interactions
from ..shuffle.slices import Slice, collect

if TYPE_CHECKING:
    from ...models.detector.iadsr import IADSR
from .scored_shard import ScoredShard, from_table, to_table


def score_shard(
    shard: int, table: pa.Table, columns: InteractionColumns, catalogue: JoinedItems, model, cells: int = 1
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
    from ...models.detector.scoring import score_sequences

    started = perf_counter()
    ordered = order_interactions(table, columns)
    ordered_at = perf_counter()
    packed = catalogue.take(catalogue.lookup(ordered.item_ids))  # [V', ...], the shard's own items
    vectors = packed.unpack(model.config.collaborative_dimension)
    scores = score_sequences(model, ordered.sequences(columns), vectors, cells=cells)
    known = (vectors.has_collaborative | vectors.has_semantic)[ordered.items]
    has_text = vectors.has_semantic[ordered.items]
    seconds = {"order": ordered_at - started, "score": perf_counter() - ordered_at}
    return ScoredShard(shard, ordered, scores, known, has_text, seconds)


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
        self._model, self._catalogue = LoadedOnce["IADSR"](), LoadedOnce[JoinedItems]()

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
            widths = model.packed_width, model.config.semantic_dimension
            catalogue = collect_joined_items(slices["vectors"], table[self._columns.item].type, widths)
        else:
            catalogue = self._catalogue.get(lambda: open_joined_items(catalogue_directory))
        yield score_shard(shard, table, self._columns, catalogue, model, self._cells)

    def _load_model(self) -> "IADSR":
        from ...models.detector.iadsr import IADSR

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
