"""Other ways to find noise, each re-implemented from its paper: a function that trains on a log and returns a scorer.

Every module says what it simplifies, and where its settings come from: the paper, the peer's own loss on held-out
users or, where it says so, what worked on a log that a table reports. None sees which interactions are noise.
"""
