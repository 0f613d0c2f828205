"""What a run that was cut off has done can be used again only for the rows that it was done for."""

from ..contract.output_layout import INTERACTIONS, SEQUENCES
from ..files.storage import delete, exists, join, list_names, read_bytes, write_atomically
from ..read.read_splits import SplitCounts


def discard_work_on_other_rows(output: str, staging_directory: str, counts: list[SplitCounts]) -> None:
    """Deletes scored shards and results of an earlier start of this run if it had other valid rows than this one.

    A row group that could not be read, and was skipped, may be readable in the rerun, or the other way round. Its rows
    are spread over all shards, and where scores change so does what is dropped of every shard: nothing can be kept.
    Called before anything is scored, so that what is scored belongs to the rows noted here.

    Args:
        output: The output directory.
        staging_directory: Where scored shards lie.
        counts: Of all splits.
    """
    note = join(staging_directory, "valid_rows")
    rows = f"{sum(c.valid for c in counts)} {sum(c.checksum for c in counts) % 2**64:016x}".encode()
    if exists(note):
        if read_bytes(note) == rows:
            return
        scored = [name for name in list_names(staging_directory) if name.startswith("scored-")]
        delete(*(join(staging_directory, name) for name in scored))
        delete(*(join(output, folder) for folder in (INTERACTIONS, SEQUENCES)))
    write_atomically(note, lambda file: file.write(rows))
