"""Grouping interactions by user: users are dealt into shards, and slices of tables travel."""
