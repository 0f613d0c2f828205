"""Noise: inserting it, estimating how much of it a log holds, recalibrating probabilities, weighing interactions."""
