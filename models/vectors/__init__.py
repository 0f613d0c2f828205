"""Item vectors learned from the log: out of fold from co-occurrence, their components, and neighbours by text."""
