"""Trains the detector, one module per stage."""
