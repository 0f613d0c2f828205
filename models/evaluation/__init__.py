"""Measures what cleaning is worth: trains a recommender on each version of a log and compares how well they rank."""
