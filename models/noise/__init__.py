"""Noise: inserting it, counting what it scores, how much of it a log holds, what an interaction weighs."""
