"""The data contract: which columns a log has, of which types, what cleaning adds, and how all of it is named on disk.

Come here first if you want to know what a table in this package may hold, how an id is hashed, or which shard a user
belongs to. Nothing in this room reads or writes a file.
"""
