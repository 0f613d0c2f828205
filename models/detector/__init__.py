"""The noise detector: the IADSR model, its parts, its files, and scoring with it."""
