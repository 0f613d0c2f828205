"""Scores a log after the rules: joins it with item vectors, scores each shard, and plans what to drop.

The graph of `clean` and the composite for other people's pipelines share these steps.
"""

import dataclasses
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton, PCollection

from ..contract.columns import InteractionColumns
from ..contract.sharding import Sharding
from ..files.run_paths import StagingPaths
from ..files.storage import join
from ..items.embedding_files import vector_bytes
from ..items.joined_items import Join, JoinItems, choose_item_shards
from ..items.shuffle_join import FetchVectors
from ..rules.rule_log import RuledLog
from ..shuffle.slices import Shuffle, Slice
from .artifacts import COLLABORATIVE
from .drop_plan import PlanDrops
from .kept_scores import ScoreKeeping
from .policy import Policy
from .score_shards import ScoreShards


class ScoredLog(NamedTuple):
    """What `ScoreLog` gives. The first two are empty if no row is valid."""

    shards: PCollection
    """StagedShard of each user shard."""
    plan: PCollection
    """One DropPlan."""
    joined_items: PCollection
    """Directory of the joined items, one."""


@dataclasses.dataclass
class ScoreLog(beam.PTransform):
    """(split index, valid table) -> ScoredLog. The rules have run on the same tables before.

    Scored shards wait on disk until all of them are scored. Only the whole log decides what a score means, and which
    of them are dropped.
    """

    columns: InteractionColumns
    policy: Policy
    model_directory: str
    embeddings: str
    """Directory of the semantic embeddings."""
    noise_reference: np.ndarray
    """What inserted noise scores, see `models.training.noise_reference`."""
    sharding: Sharding
    shuffle: Shuffle
    join: Join | None
    """How items meet their vectors; None: by the size of the vectors."""
    paths: StagingPaths
    ruled: RuledLog
    """The log after the rules."""
    item_counts: PCollection
    """Path of the item counts."""
    keeping: ScoreKeeping | None = None
    """Where scores are kept for the next run, and taken over from an earlier one. None: nowhere."""

    def expand(self, input_or_inputs):
        """Applies all steps to a PCollection of valid tables."""
        collaborative = join(self.model_directory, COLLABORATIVE)
        item_shards = choose_item_shards(self.join, vector_bytes(self.embeddings) + vector_bytes(collaborative))
        joined_items = input_or_inputs.pipeline | "Joined items" >> JoinItems(
            self.embeddings,
            collaborative,
            self.paths.joined_items(item_shards),
            item_shards,
            self.keeping and dataclasses.replace(self.keeping.lenders, paths=self.paths),
        )
        items_directory = AsSingleton(joined_items)
        shards = self.ruled.shards | "Without vectors" >> beam.Map(_without_vectors)
        if item_shards is not None:
            fetch = FetchVectors(self.columns, self.sharding, item_shards, self.shuffle, self.paths, items_directory)
            vectors = input_or_inputs | "Fetch vectors" >> fetch
            shards = {"shard": shards, "vectors": vectors} | beam.CoGroupByKey() | "With vectors" >> beam.Map(_vectors)
        scored: Any = shards | "Score" >> ScoreShards(
            self.columns,
            self.model_directory,
            self.sharding.cells,
            self.paths,
            AsSingleton(self.ruled.log_rules),
            items_directory,
            # If there is no count, there is no shard to score either.
            AsSingleton(self.item_counts, None),
            self.keeping,
        )
        plan = scored | "Tallies" >> beam.Values() | "Plan drops" >> PlanDrops(self.policy, self.noise_reference)
        # Without the shuffle, a retry of a later step would score again, and shards would stay with their worker.
        shards = scored | "Staged shards" >> beam.Keys() | "Spread over workers" >> beam.Reshuffle()
        return ScoredLog(shards, plan, joined_items)


# Not a lambda: Beam would put the path of this file on the submitting machine into the graph.
def _without_vectors(shard: int) -> tuple[int, None]:
    return shard, None


def _vectors(grouped: tuple[int, dict[str, list]]) -> tuple[int, list[Slice]]:
    shard, found = grouped
    return shard, list(found["vectors"])
