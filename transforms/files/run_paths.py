"""Where the files of a run lie: one place knows every name, so that a step only asks for the path of its shard."""

import dataclasses

from ..contract.output_layout import CARD, INTERACTIONS, MANIFEST, REJECTED, REPORT, SEQUENCES, USERS, shard_file
from .storage import join


@dataclasses.dataclass(frozen=True)
class StagingPaths:
    """What the steps of a pipeline leave for one another while it runs."""

    staging: str
    """Directory that all workers see. It can be deleted when the pipeline has ended."""

    def check_still_ours(self) -> None:
        """Checks that the run goes on, and that no other has taken its directory. Only a run's own store can tell."""

    def slices(self, split: int) -> str:
        """Rows of one split, cut by user shard."""
        return join(self.staging, f"slices-{split:05d}.arrow")

    def asked(self, split: int) -> str:
        """The items that one split asks for, cut by item shard."""
        return join(self.staging, f"asked-{split:05d}.arrow")

    def vectors(self, item_shard: int) -> str:
        """The vectors that one item shard answers with, cut by user shard."""
        return join(self.staging, f"vectors-{item_shard:05d}.arrow")

    def ruled(self, shard: int) -> str:
        """One user shard in order, with what the rules have found."""
        return join(self.staging, f"ruled-{shard:05d}.arrow")

    def scored(self, shard: int) -> str:
        """One user shard with its scores."""
        return join(self.staging, f"scored-{shard:05d}.arrow")

    @property
    def item_counts(self) -> str:
        """How often each item occurs in the log."""
        return join(self.staging, "item_counts.arrow")

    def joined_items(self, item_shards: int | None) -> str:
        """Directory of the items joined with their vectors: as one, or cut into item shards.

        The two forms have names of their own, so that a run can be resumed with the other kind of join.
        """
        return join(self.staging, "joined_items" if item_shards is None else "item_shards")


@dataclasses.dataclass(frozen=True)
class RunPaths(StagingPaths):
    """What a run writes in all: its result, and what its steps leave for one another."""

    output: str
    """Directory of the result."""
    shards: int
    """Number of user shards. The names of a shard's files say it."""

    def interactions(self, shard: int) -> str:
        """All interactions of one shard, with what was decided about them."""
        return join(self.output, INTERACTIONS, shard_file(shard, self.shards))

    def sequences(self, shard: int) -> str:
        """The cleaned sequences of one shard's users."""
        return join(self.output, SEQUENCES, shard_file(shard, self.shards))

    def users(self, shard: int) -> str:
        """What one shard's users are like."""
        return join(self.output, USERS, shard_file(shard, self.shards))

    def rejected(self, split: int) -> str:
        """Rows of one split that could not be used.

        The name depends on the split alone. A retried bundle or a resumed run replaces the file.
        """
        return join(self.output, REJECTED, f"part-{split:05d}.parquet")

    @property
    def manifest(self) -> str:
        """The manifest."""
        return join(self.output, MANIFEST)

    @property
    def report(self) -> str:
        """The report."""
        return join(self.output, REPORT)

    @property
    def card(self) -> str:
        """The dataset card."""
        return join(self.output, CARD)
