"""The middle floor: everything that works on Arrow tables with Beam.

The rooms, in the order in which the data passes through them. Each may import from those above it, never from those
below:

1. `contract`: which columns a log must have, which types they may have, and what cleaning adds to them.
2. `files`: lists, reads, writes and deletes files on any file system.
3. `read`: plans the reading, reads the log in splits, and separates valid rows from rejected ones.
4. `shuffle`: brings all interactions of a user together in one shard.
5. `items`: the texts and embeddings of items, and joining them to the log.
6. `judge`: scores every interaction, and decides which ones to keep.
7. `write`: writes each shard's files, and sums up what was decided.
8. `run`: everything that concerns a run as a whole, such as its directory, its manifest and its verification.

`clean_interactions` stands above the rooms: all of this as one transform, for Beam pipelines of your own.

`models` lies below and knows nothing of Beam. `pipeline` lies above and talks to people.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clean_interactions import CleanInteractions, clean_table

__all__ = ["CleanInteractions", "clean_table"]


def __getattr__(name: str):
    # Imported when it is asked for: a step that needs a table alone would pay for Beam and all the rest.
    if name in __all__:
        from . import clean_interactions

        return getattr(clean_interactions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
