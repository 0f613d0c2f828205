"""Names of the files and folders that a run writes."""

INTERACTIONS, SEQUENCES, REJECTED = "interactions", "sequences", "rejected"
MANIFEST, REPORT = "manifest.json", "report.html"
STAGING = ".staging"
"""Folder in the output directory for what a run has not finished yet; gone when it has."""
OUTPUTS = (INTERACTIONS, SEQUENCES, REJECTED, MANIFEST, REPORT, STAGING)


def shard_file(shard: int, shards: int) -> str:
    """Name of a shard's files: the same for every try, so that a retried bundle replaces what it left behind."""
    return f"part-{shard:05d}-of-{shards:05d}.parquet"
