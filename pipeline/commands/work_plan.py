"""What a run of `clean` will take, from the footers of a log, the width of its rows, and nothing else.

The constants are fitted to measured runs. `benchmarks/plan.py` prints what is planned here beside what a run took.
"""

import dataclasses
import math

import pyarrow as pa

from ...transforms.read.input_plan import InputPlan
from ...transforms.shuffle.slices import Shuffle

RULES_BASE_BYTES = 235 << 20
"""Memory of a worker before it holds any data: Python, Beam, Arrow."""

SCORING_BASE_BYTES = 1000 << 20
"""The same with torch and a model."""

PART_FACTOR, GROUP_FACTOR = 1, 3.3
"""Peak memory per byte of rows that are read together, and per byte of a row group of them, which is decoded whole."""

SHARD_FACTOR = 5
"""Peak memory per byte of a shard's rows: its slices, the ordered copy, scores, the output."""

VECTOR_FACTOR = 2
"""Peak memory per byte of the item vectors, while two tables are joined into one file. That is mapped afterwards."""

RULED_BYTES, SCORED_BYTES = 20, 22
"""What the rules add to a row where a shard waits in its file, and what the scores add to that."""

OUTPUT_FACTOR, SCORED_OUTPUT_BYTES = 1.2, 16
"""Bytes of the result per byte of the log's files, and what the scores add for each row."""

RULES_START_SECONDS, SCORING_START_SECONDS = 2.2, 12.5
"""CPU seconds that a run takes at any size: imports, the report; with a model also torch and the catalogue."""

RULES_PACE, SCORING_PACE = 2_500_000, 81_000
"""Rows for each CPU second beyond that, were they of no width."""

BYTE_PACE = 31_000_000
"""Bytes of rows for each CPU second beyond that: they are read, sorted and written."""

RULES_START_REQUESTS, SCORING_START_REQUESTS = 52, 139
"""Requests to an object store that a run takes at any size."""

FILE_REQUESTS, SPLIT_REQUESTS = 1, 2
"""Requests for the footer of a file of the log, and for what is read of it together."""

RULED_SHARD_REQUESTS, SCORED_SHARD_REQUESTS = 6, 9
"""Requests for what is written and read of a shard."""


@dataclasses.dataclass(frozen=True)
class WorkPlan:
    """What a run will take."""

    rows: int
    """Rows to read."""
    parts: int
    """Parts into which the log is cut for reading."""
    shards: int
    """Shards into which users are divided."""
    worker_bytes: int
    """Peak memory of one worker process."""
    shuffled_bytes: int
    """Bytes of the rows that travel from parts to shards, uncompressed."""
    staged_bytes: int
    """Bytes that the steps leave for one another in the output directory. They are deleted at the end."""
    output_bytes: int
    """Bytes of the result, roughly."""
    cpu_seconds: float
    """CPU seconds of all workers together."""
    requests: int
    """Requests if log and output are in an object store."""
    reading_decides: bool
    """Whether reading needs more memory than a shard, so that more shards are of no use."""


def plan_work(
    plan: InputPlan, shards: int, row_bytes: float, shuffle: Shuffle, vector_bytes: int | None = None
) -> WorkPlan:
    """Says what a run will take.

    Args:
        plan: What the footers say.
        shards: Number of user shards.
        row_bytes: Bytes of a row as an Arrow table holds it.
        shuffle: How rows travel from parts to shards.
        vector_bytes: Size of all item vectors; None if rules alone decide.
    """
    scored = vector_bytes is not None
    rows, parts, files = plan.rows, len(plan.splits), len(plan.rows_by_file)
    read = sum(file.size for file in plan.files)
    base = SCORING_BASE_BYTES + VECTOR_FACTOR * vector_bytes if scored else RULES_BASE_BYTES
    reading = row_bytes * max(
        split.rows * (PART_FACTOR + GROUP_FACTOR / len(split.row_groups)) for split in plan.splits
    )
    shard = SHARD_FACTOR * row_bytes * math.ceil(rows / shards)
    shuffled = row_bytes * rows
    ruled = shuffled + RULED_BYTES * rows
    waiting = ruled + (ruled + SCORED_BYTES * rows + vector_bytes if scored else 0)
    start, pace = (SCORING_START_SECONDS, SCORING_PACE) if scored else (RULES_START_SECONDS, RULES_PACE)
    asked, for_shard = (
        (SCORING_START_REQUESTS, SCORED_SHARD_REQUESTS) if scored else (RULES_START_REQUESTS, RULED_SHARD_REQUESTS)
    )
    return WorkPlan(
        rows=rows,
        parts=parts,
        shards=shards,
        worker_bytes=int(base + max(reading, shard)),
        shuffled_bytes=int(shuffled),
        staged_bytes=int(waiting + (shuffled if shuffle == "claim-check" else 0)),
        output_bytes=int(OUTPUT_FACTOR * read + (SCORED_OUTPUT_BYTES * rows if scored else 0)),
        cpu_seconds=start + rows / pace + shuffled / BYTE_PACE,
        requests=asked
        + FILE_REQUESTS * files
        + SPLIT_REQUESTS * parts
        + for_shard * shards
        + (parts * (2 * shards + 1) if shuffle == "claim-check" else 0),
        reading_decides=reading > shard,
    )


def row_bytes(rows: pa.Table, plan: InputPlan) -> float:
    """Returns the bytes of a row as an Arrow table holds it, as far as the first rows of a log tell.

    The footers do not tell it: text that repeats takes less room in Parquet.
    """
    return rows.nbytes / len(rows) if len(rows) else 2 * plan.uncompressed_bytes / plan.rows
