"""Names of the files and folders that a run writes into its output directory."""

INTERACTIONS = "interactions"
"""Folder of the decided interactions, one file per shard."""

SEQUENCES = "sequences"
"""Folder of the kept interactions as one sequence per user, one file per shard."""

USERS = "users"
"""Folder with one row for each user, one file per shard."""

REJECTED = "rejected"
"""Folder of the rows that could not be used."""

MANIFEST = "manifest.json"
"""File that describes the run. It is written last, so a directory that has one is finished."""

SUCCESS = "_SUCCESS"
"""Empty file that `iadsr publish` writes into a run that readers may take."""

REPORT = "report.html"
"""File that shows the run to people."""

CARD = "README.md"
"""File by which the `datasets` library of Hugging Face knows the tables."""

STAGING = ".staging"
"""Folder of what a run has not finished yet. A finished run has removed it."""

KEPT_SCORES = ".scores"
"""Folder of the model's scores, for the next run in the same dataset directory."""

OUTPUTS = (INTERACTIONS, SEQUENCES, USERS, REJECTED, MANIFEST, REPORT, CARD, SUCCESS, STAGING, KEPT_SCORES)
"""Everything that a run writes into its output directory."""


def shard_file(shard: int, shards: int) -> str:
    """Returns the name of a shard's files.

    The name is the same every time the shard is processed. A retried bundle therefore replaces the file of the
    bundle that failed.
    """
    return f"part-{shard:05d}-of-{shards:05d}.parquet"
