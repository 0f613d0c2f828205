"""Items: their texts, their embeddings, how often they occur, and how they are joined to the log.

Come here if you need anything that is known about an item beside the interactions with it.
"""
