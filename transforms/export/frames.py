"""Interactions as rows of Parquet, in a folder for each part of the split: for libraries that read data frames."""

from collections.abc import Callable

import pyarrow as pa

from ..contract.added_columns import SPLITS
from ..contract.output_layout import shard_file
from .export_format import Export
from .user_sequences import UserSequences

BEHAVIOUR = """
The column `behaviour` says what the user did.
"""
"""What a README says of the column."""


def write_frames(export: Export, to_table: Callable[[UserSequences], pa.Table]) -> None:
    """Writes each part of the split into a folder of its name, with one file for each shard.

    Args:
        export: The export.
        to_table: Returns the rows of some interactions.
    """
    for shard, sequences in enumerate(export.sequences()):
        for split in export.run.splits:
            part = sequences.only(sequences.split == SPLITS.index(split))
            export.write_table(f"{split}/{shard_file(shard, export.run.shards)}", to_table(part))


def frame(sequences: UserSequences, time: str) -> pa.Table:
    """Returns a row for each interaction: `user_id`, `item_id`, the time under the name `time`, and `weight`.

    If the log has behaviours, so does a column `behaviour`.
    """
    columns = {
        "user_id": sequences.ids_of_users,
        "item_id": sequences.item_ids,
        time: pa.array(sequences.moments).cast(pa.timestamp("us")),
        "weight": sequences.weights,
    }
    if sequences.behaviours is not None:
        columns["behaviour"] = sequences.behaviours
    return pa.table(columns)
