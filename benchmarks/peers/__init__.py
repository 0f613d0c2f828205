"""Other ways to find noise, each re-implemented from its paper: a function that trains on a log and returns a scorer.

Every module says what it simplifies. None sees which interactions are noise; settings were chosen on a log that no
table reports.
"""
