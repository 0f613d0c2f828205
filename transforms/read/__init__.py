"""Reading the log: plan it, read it in splits, validate every row, and order each user's interactions by time.

Come here if you want to know what happens to a row between its Parquet file and the shuffle, or why it was rejected.
"""
