"""Arrow tables and Beam transforms: read, validate, group, join, score, decide, write."""
