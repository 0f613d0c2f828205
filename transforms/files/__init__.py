"""Files on any file system: list, read, write whole, delete."""
