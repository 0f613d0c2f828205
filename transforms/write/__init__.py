"""Writing: the files of each shard, and the summary of what was decided."""
