"""Items: their texts, their embeddings, how often they occur, and joining them to the log."""
