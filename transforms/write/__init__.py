"""Writing: the files of each shard, and the summary of what was decided.

Come here if you want to know what the output files look like, or where the figures in the report come from.
"""
