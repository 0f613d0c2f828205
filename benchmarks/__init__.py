"""Measurements of iadsr beside its peers: run from the root of the repository, `python -m benchmarks.detection`."""

import logging

# Beam warns of packages that nothing here needs, where no handler is in place.
logging.getLogger().addHandler(logging.NullHandler())
