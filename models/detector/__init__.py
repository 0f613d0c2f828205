"""The noise detector: the IADSR model, its parts, its files on disk, and scoring with it."""
