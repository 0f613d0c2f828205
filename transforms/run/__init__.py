"""A run as a whole: its directory, mark, resume, manifest, conservation of rows, verification."""
