"""Scores a whole log: counts its items, groups it by user, scores each shard, and plans what to drop.

The graph of `clean` and the composite for other people's pipelines share these steps.
"""

import dataclasses
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.util import WaitOn

from ..contract.columns import InteractionColumns
from ..contract.sharding import Sharding
from ..files.run_paths import StagingPaths
from ..files.storage import join
from ..items.embedding_files import vector_bytes
from ..items.item_counts import CountItems
from ..items.joined_items import Join, JoinItems, choose_item_shards
from ..items.shuffle_join import FetchVectors
from ..shuffle.slices import Shuffle, SliceByUserShard
from .artifacts import COLLABORATIVE
from .drop_plan import PlanDrops
from .policy import Policy
from .score_shards import ScoreShards


class ScoredLog(NamedTuple):
    """What `ScoreLog` gives. The first three are empty if no row is valid."""

    shards: PCollection
    """StagedShard of each user shard."""
    plan: PCollection
    """One DropPlan."""
    item_counts: PCollection
    """Path of the item counts, one."""
    joined_items: PCollection
    """Directory of the joined items, one."""


@dataclasses.dataclass
class ScoreLog(beam.PTransform):
    """(split index, valid table) -> ScoredLog.

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
    checked: PCollection
    """Nothing is scored before this is complete: the staging directory may still hold stale shards."""

    def expand(self, input_or_inputs):
        """Applies all steps to a PCollection of valid tables."""
        collaborative = join(self.model_directory, COLLABORATIVE)
        item_shards = choose_item_shards(self.join, vector_bytes(self.embeddings) + vector_bytes(collaborative))
        joined_items = input_or_inputs.pipeline | "Joined items" >> JoinItems(
            self.embeddings, collaborative, self.paths.joined_items(item_shards), item_shards
        )
        items_directory = AsSingleton(joined_items)
        item_counts = input_or_inputs | "Popularity" >> CountItems(self.columns.item, self.paths)
        slices = SliceByUserShard(self.columns.user, self.sharding, self.shuffle, self.paths)
        grouped = {"rows": input_or_inputs | "Slice" >> slices}
        if item_shards is not None:
            fetch = FetchVectors(self.columns, self.sharding, item_shards, self.shuffle, self.paths, items_directory)
            grouped["vectors"] = input_or_inputs | "Fetch vectors" >> fetch
        scored = (
            grouped
            | "Group by user shard" >> beam.CoGroupByKey()
            | "Wait for the check" >> WaitOn(self.checked)
            | "Score"
            >> ScoreShards(
                self.columns,
                self.model_directory,
                self.sharding.cells,
                self.paths,
                items_directory,
                # If there is no count, there is no shard to score either.
                AsSingleton(item_counts, None),
            )
        )
        plan = scored | "Tallies" >> beam.Values() | "Plan drops" >> PlanDrops(self.policy, self.noise_reference)
        # Without the shuffle, a retry of a later step would score again, and shards would stay with their worker.
        shards = scored | "Staged shards" >> beam.Keys() | "Spread over workers" >> beam.Reshuffle()
        return ScoredLog(shards, plan, item_counts, joined_items)
