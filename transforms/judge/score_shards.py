"""Scores shards of users: join, score. A scored shard is staged on disk until the drop plan is known."""

import dataclasses
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from ...models.core.sequences import Sequences
from ...models.detector.scores import Scores
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
from .kept_scores import Lookup, ScoreKeeping, look_up, score_asked, write_kept_scores
from .scored_shard import ScoredShard, StagedShard, read_staged_shard, stage_shard
from .tally import Tally, tally_shard

if TYPE_CHECKING:
    from ...models.detector.iadsr import IADSR


POOLED_INTERACTIONS = 1 << 16
"""Users who have changed wait until they have so many interactions, so that they fill the model's batches."""

_MAX_WAITING = 1 << 22
"""The scores of so many interactions at most are held in memory meanwhile."""


def score_shard(
    shard: int,
    ruled: RuledShard,
    columns: InteractionColumns,
    joined_items: JoinedItems,
    model: "IADSR",
    cells: int = 1,
) -> ScoredShard:
    """Scores every interaction of a shard that no rule has taken.

    Args:
        shard: Number of the shard.
        ruled: The shard after all rules.
        columns: The part that each column plays.
        joined_items: Items and their vectors.
        model: The detector.
        cells: See `Sharding`.

    Raises:
        ArtifactError: Item ids in the log and in the joined items have different types.
    """
    from ...models.detector.scoring import score_sequences

    started = perf_counter()
    rows, sequences = joined_items.lookup(ruled.ordered.item_ids), _evidence(ruled, columns)
    vectors = joined_items.take(rows).unpack(model.config.collaborative_dimension)  # the shard's own items
    scores = score_sequences(model, sequences, vectors, cells=cells)
    return _with_scores(shard, ruled, joined_items, rows, scores, perf_counter() - started)


def _evidence(ruled: RuledShard, columns: InteractionColumns) -> Sequences:
    """Returns what the detector reads of a shard. Items are those of the shard."""
    return ruled.ordered.sequences(columns).restrict(ruled.evidence)


def _with_scores(
    shard: int,
    ruled: RuledShard,
    joined_items: JoinedItems,
    rows: np.ndarray,
    scores: Scores,
    seconds: float,
    taken_over: int = 0,
) -> ScoredShard:
    """Returns a shard with the scores of its evidence. `rows` says where its items are among the joined ones."""
    evidence, items = ruled.evidence, ruled.ordered.items
    if not evidence.all():
        scores = scores.spread(evidence).at(ruled.witnesses)
    has_collaborative, has_semantic = joined_items.flags(rows)
    known, has_text = (has_collaborative | has_semantic)[items], has_semantic[items]
    return ScoredShard(shard, ruled, scores, known, has_text, {"score": seconds}, taken_over)


@dataclasses.dataclass(frozen=True)
class _Waiting:
    """A shard some of whose users wait for the model."""

    shard: int
    lookup: Lookup
    seconds: float


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

    def start_bundle(self):
        self._waiting: list[_Waiting] = []

    def process(
        self,
        element: tuple[int, Iterable[Slice] | None],
        log_rules: LogRules,
        joined_items: str,
        item_counts: str,
    ) -> Iterator[tuple[StagedShard, Tally]]:
        shard, vectors = element
        self._log_rules = log_rules
        self._counts = self._item_counts.get(lambda: read_item_counts(item_counts))
        if self._left.has(self._paths.scored(shard)):
            yield self._tallied(read_staged_shard(self._paths.scored(shard), StagedShard(shard, {})))
            return
        ruled = self._read(shard)
        if vectors is None:
            items = self._joined_items.get(lambda: open_joined_items(joined_items))
        else:
            model = self._model.get(self._load_model)
            widths = model.packed_width, model.config.semantic_dimension
            items = collect_joined_items(vectors, ruled.ordered.item_ids.type, widths)
        if self._keeping is None:
            model = self._model.get(self._load_model)
            yield self._staged(score_shard(shard, ruled, self._columns, items, model, self._cells))
            return
        self._items = items
        self._waiting.append(self._look_up(shard, ruled, items, self._keeping))
        asked = sum(len(waiting.lookup.places) for waiting in self._waiting)
        held = sum(len(waiting.lookup.scores.scored) for waiting in self._waiting)
        # Fetched vectors are those of one shard.
        if vectors is not None or asked >= POOLED_INTERACTIONS or held >= _MAX_WAITING:
            yield from self._score_waiting(self._keeping, {shard: ruled})

    # Beam's own says that it returns nothing, and takes what it yields.
    def finish_bundle(self) -> Iterator[WindowedValue]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self._keeping is not None and self._waiting:
            for result in self._score_waiting(self._keeping, {}):
                yield GlobalWindows.windowed_value(result)

    def _look_up(self, shard: int, ruled: RuledShard, items: JoinedItems, keeping: ScoreKeeping) -> _Waiting:
        started = perf_counter()
        rows = items.lookup(ruled.ordered.item_ids)
        lookup = look_up(_evidence(ruled, self._columns), items, rows, keeping.sources(shard))
        return _Waiting(shard, lookup, perf_counter() - started)

    def _score_waiting(
        self, keeping: ScoreKeeping, at_hand: dict[int, RuledShard]
    ) -> Iterator[tuple[StagedShard, Tally]]:
        """Scores the shards that wait, all together. They are read again, but for those at hand."""
        started, waiting, self._waiting = perf_counter(), self._waiting, []
        model = self._model.get(self._load_model)
        fresh = score_asked(model, [each.lookup for each in waiting], self._items)
        together = (perf_counter() - started) / len(waiting)
        for each, scores in zip(waiting, fresh, strict=True):
            started, taken_over = perf_counter(), int(each.lookup.found.sum())
            ruled = at_hand.get(each.shard) or self._read(each.shard)
            rows, kept = self._items.lookup(ruled.ordered.item_ids), each.lookup.completed(scores)
            if kept is None:
                everyone = look_up(_evidence(ruled, self._columns), self._items, rows, ())
                kept, taken_over = everyone.completed(*score_asked(model, [everyone], self._items)), 0
                assert kept is not None
            self._paths.check_still_ours()  # a late attempt would leave the scores of an ended run, or of another model
            write_kept_scores(keeping.path(each.shard), kept)
            seconds = each.seconds + together + perf_counter() - started
            yield self._staged(_with_scores(each.shard, ruled, self._items, rows, kept.scores, seconds, taken_over))

    def _read(self, shard: int) -> RuledShard:
        return self._log_rules.applied(read_ruled_shard(self._paths, shard), self._columns)

    def _staged(self, scored: ScoredShard) -> tuple[StagedShard, Tally]:
        stage_shard(self._paths.scored(scored.shard), scored)
        return self._tallied(scored)

    def _tallied(self, scored: ScoredShard) -> tuple[StagedShard, Tally]:
        tally = tally_shard(scored, self._columns, self._counts)
        return StagedShard(scored.shard, scored.seconds, scored.taken_over), tally

    def _load_model(self) -> "IADSR":
        import torch

        from ...models.detector.iadsr import IADSR

        # More threads than cores in all workers together cost far more than they bring.
        torch.set_num_threads(1)
        with shared_copy(self._model_directory) as local:
            return IADSR.from_pretrained(local)
