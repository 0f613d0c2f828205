"""Other ways to find noise, each re-implemented from its paper: a function that trains on a log and returns a scorer.

Every module says what it simplifies. Settings come from the paper or from the peer's own loss on held-out users. If
they come from what worked on a log that a table reports, the module says so. No peer sees which interactions are noise.
"""
