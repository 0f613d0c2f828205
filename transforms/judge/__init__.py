"""Judging: score each shard, tally the scores, find the threshold, decide."""
