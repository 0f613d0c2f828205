"""The shuffle: every user belongs to one shard, and all interactions of a shard's users are brought together.

Come here if you want to know which shard a user belongs to, or how rows travel there.
"""
