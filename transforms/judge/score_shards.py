"""Scores one shard of users: join, score. The scored shard is staged on disk until the drop plan is known."""

import dataclasses
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from ..contract.columns import InteractionColumns
from ..files.listed_once import ListedOnce
from ..files.loaded_once import LoadedOnce
from ..files.local_copy import shared_copy
from ..files.run_paths import StagingPaths
from ..items.item_counts import ItemCounts, read_item_counts
from ..items.joined_items import JoinedItems, open_joined_items
from ..items.shuffle_join import collect_joined_items
from ..rules.rule_log import LogRules, read_ruled_shard
from ..rules.ruled_shard import RuledShard
from ..shuffle.slices import Slice
from .kept_scores import ScoreKeeping, score_changed, write_kept_scores
from .scored_shard import ScoredShard, StagedShard, read_staged_shard, stage_shard
from .tally import Tally, tally_shard

if TYPE_CHECKING:
    from ...models.detector.iadsr import IADSR


def score_shard(
    shard: int,
    ruled: RuledShard,
    columns: InteractionColumns,
    joined_items: JoinedItems,
    model: "IADSR",
    cells: int = 1,
    keeping: ScoreKeeping | None = None,
) -> ScoredShard:
    """Scores every interaction of a shard that no rule has taken.

    Args:
        shard: Number of the shard.
        ruled: The shard after all rules.
        columns: The part that each column plays.
        joined_items: Items and their vectors.
        model: The detector.
        cells: See `Sharding`.
        keeping: Where scores are kept for the next run, and taken over from an earlier one. None: nowhere.

    Raises:
        ArtifactError: Item ids in the log and in the joined items have different types.
        InputError: The scores cannot be kept.
    """
    from ...models.detector.scoring import score_sequences

    started = perf_counter()
    ordered, evidence = ruled.ordered, ruled.evidence
    rows = joined_items.lookup(ordered.item_ids)
    sequences, taken_over = ordered.sequences(columns).restrict(evidence), 0
    if keeping is None:
        vectors = joined_items.take(rows).unpack(model.config.collaborative_dimension)  # the shard's own items
        scores = score_sequences(model, sequences, vectors, cells=cells)
    else:
        kept, taken_over = score_changed(model, sequences, joined_items, rows, keeping.sources(shard))
        write_kept_scores(keeping.path(shard), kept)
        scores = kept.scores
    if not evidence.all():
        scores = scores.spread(evidence).at(ruled.witnesses)
    has_collaborative, has_semantic = joined_items.flags(rows)
    known, has_text = (has_collaborative | has_semantic)[ordered.items], has_semantic[ordered.items]
    seconds = {"score": perf_counter() - started}
    return ScoredShard(shard, ruled, scores, known, has_text, seconds, taken_over)


@dataclasses.dataclass
class ScoreShards(beam.PTransform):
    """Numbers of ruled shards -> (StagedShard, Tally).

    The step writes each scored shard to the staging directory and tallies it. If an earlier start of the run has
    written the shard already, it is read and not scored again. Before this step, stale shards must have been removed
    (`RunStore.discard_work_on_other_rows`).

    The elements are (user shard, vectors): slices that `FetchVectors` has fetched for the shard, or None. With them, no
    worker opens the joined items.
    """

    columns: InteractionColumns
    model_directory: str
    cells: int
    paths: StagingPaths
    log_rules: AsSingleton
    """The LogRules."""
    joined_items: AsSingleton
    """Directory of the joined items."""
    item_counts: AsSingleton
    """Path of the item counts."""
    keeping: ScoreKeeping | None = None
    """Where scores are kept for the next run, and taken over from an earlier one. None: nowhere."""

    def expand(self, input_or_inputs):
        """Applies the scorer to a PCollection of grouped slices."""
        return input_or_inputs | "Join and score" >> beam.ParDo(
            _ScoreShard(self), self.log_rules, self.joined_items, self.item_counts
        )


class _ScoreShard(beam.DoFn):
    def __init__(self, config: ScoreShards):
        self._columns, self._cells, self._paths = config.columns, config.cells, config.paths
        self._model_directory, self._keeping = config.model_directory, config.keeping
        self._model, self._joined_items = LoadedOnce["IADSR"](), LoadedOnce[JoinedItems]()
        self._item_counts, self._left = LoadedOnce[ItemCounts](), ListedOnce(config.paths.staging)

    def setup(self):
        import torch

        # More threads than cores in all workers together cost far more than they bring.
        torch.set_num_threads(1)

    def process(
        self,
        element: tuple[int, Iterable[Slice] | None],
        log_rules: LogRules,
        joined_items: str,
        item_counts: str,
    ) -> Iterator[tuple[StagedShard, Tally]]:
        shard, vectors = element
        path = self._paths.scored(shard)
        if self._left.has(path):
            scored = read_staged_shard(path, StagedShard(shard, {}))
        else:
            ruled = log_rules.applied(read_ruled_shard(self._paths, shard), self._columns)
            scored = self._score(shard, ruled, vectors, joined_items)
            stage_shard(path, scored)
        counts = self._item_counts.get(lambda: read_item_counts(item_counts))
        yield StagedShard(shard, scored.seconds, scored.taken_over), tally_shard(scored, self._columns, counts)

    def _score(self, shard: int, ruled: RuledShard, vectors: Iterable[Slice] | None, joined_items: str) -> ScoredShard:
        model = self._model.get(self._load_model)
        if vectors is not None:
            widths = model.packed_width, model.config.semantic_dimension
            items = collect_joined_items(vectors, ruled.ordered.item_ids.type, widths)
        else:
            items = self._joined_items.get(lambda: open_joined_items(joined_items))
        return score_shard(shard, ruled, self._columns, items, model, self._cells, self._keeping)

    def _load_model(self) -> "IADSR":
        from ...models.detector.iadsr import IADSR

        with shared_copy(self._model_directory) as local:
            return IADSR.from_pretrained(local)
