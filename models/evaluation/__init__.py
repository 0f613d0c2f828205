"""What cleaning is worth: a recommender trained on each version of a log, ranked and compared."""
