"""The shuffle: brings all interactions of a shard's users together.

Come here if you want to know how rows travel from the split in which they were read to the shard of their user.
"""
