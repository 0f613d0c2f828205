"""A run as a whole: its output directory, its mark, resuming, the manifest, conservation of rows, and verification.

Come here if you want to know when a run counts as finished, how it resumes, or how its result can be checked.
"""
