"""Measurements of iadsr beside its peers: run from the root of the repository, `python -m benchmarks.detection`."""
