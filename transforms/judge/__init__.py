"""Judging: score the interactions of each shard, tally the scores, find the threshold, and decide which ones to keep.

Come here if you want to know why an interaction was kept or dropped.
"""
